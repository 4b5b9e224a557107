"""An index must fit every table that it is looked up in.

## Why it matters
`self.item_bias(user)` where `self.item_bias(item)` was meant: as long as there are more items than users nothing
raises, the model learns a bias of the wrong thing, and with other numbers an index is out of range one day.

## How it is tested
The embedding tables that each input is looked up in, as it is, are watched. Reported is an input that is looked up in
two tables of different lengths, if another input is looked up in one of the same length as the odd one out.

## How to fix it
Look up each table by its own index.

## How to reproduce it
    from torch.overrides import TorchFunctionMode
    rows = {}
    class Watch(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            if function.__name__ == "embedding":
                rows.setdefault(args[0].data_ptr(), set()).add(len(args[1]))
            return function(*args, **(kwargs or {}))
    with Watch(): run()
    assert all(len(found) == 1 for found in rows.values()), f"one index, tables of {list(rows.values())} rows"
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import lookups
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.SHAPES_MEANT)
def wrong_table(case: Case) -> Iterator[Finding]:
    """Watch one call; compare the lengths of the tables that an input meets."""
    found = lookups.lookups(case.module, case.inputs)
    if len({one.index for one in found}) < 2:  # noqa: PLR2004 - one index has nothing to be taken for
        raise NotApplicable("no two inputs are looked up in tables")
    for one in found:
        own = {other.rows for other in found if other.index == one.index}
        others = [other for other in found if other.index != one.index and other.rows == one.rows]
        of_others = {other.rows for other in found if others and other.index == others[0].index}
        if len(own) > 1 and others and len(of_others) == 1:
            yield Finding(
                f"{one.index} is looked up in {one.table} of {one.rows} rows and in one of "
                f"{', '.join(map(str, sorted(own - {one.rows})))}, {others[0].index} in {others[0].table} of {one.rows}: "
                f"{one.table} meets the wrong index",
                where=one.table,
                file=one.file,
                line=one.line,
                fix=f"look {one.table} up by {others[0].index}",
                numbers={"rows": one.rows},
            )


def _pair() -> tuple[Tensor, Tensor]:
    return torch.tensor([0, 2, 1, 3]), torch.tensor([1, 1, 3, 0])


@wrong_table.bad("item_bias meets the wrong index", inputs=_pair)
class BiasOfTheWrongThing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(9, 6), nn.Embedding(5, 6)
        self.item_bias = nn.Embedding(5, 1)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return (self.users(user) * self.items(item)).sum(-1) + self.item_bias(user).squeeze(-1)


@wrong_table.bad("positions meets the wrong index", inputs=lambda: _pair() + _pair()[:1])
class PlacesOfTheWrongThing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.kinds = nn.Embedding(20, 6), nn.Embedding(4, 6)
        self.positions = nn.Parameter(torch.randn(9, 6))
        self.scales = nn.Parameter(torch.randn(9, 6))

    def forward(self, token: Tensor, place: Tensor, kind: Tensor) -> Tensor:
        x = self.words(token) + nn.functional.embedding(token, self.positions)
        return (x + self.kinds(kind)) * nn.functional.embedding(place, self.scales)


@wrong_table.good(inputs=_pair)
class TablesOfTheirOwn(nn.Module):
    """Two tables for one index, and one of another length for a bucket of it."""

    def __init__(self) -> None:
        super().__init__()
        self.users, self.items, self.groups = nn.Embedding(9, 6), nn.Embedding(5, 6), nn.Embedding(5, 6)
        self.bias = nn.Embedding(9, 1)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        x = self.users(user) + self.groups(user // 2)
        return (x * self.items(item)).sum(-1) + self.bias(user).squeeze(-1)
