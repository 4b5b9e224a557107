"""A constructor must leave the lists and dicts that it is given as they were.

## Why it matters
`hidden.reverse()`, `widths.insert(0, n)` and `config.pop("kind")` change the caller's object: the second model that is
built of the same list is another one, or raises. A list that is a default is shared by all calls.

## How it is tested
The class is built once more, with a copy of each list and each dict that it is built with, or that is a default, and the
copies are compared with what they were. What is not plain (numbers, texts and containers of them) is left out.

## How to fix it
Copy it first: `hidden = [*reversed(hidden)]`, `config = dict(config)`.

## How to reproduce it
    import copy, inspect
    for name, one in inspect.signature(type(module)).parameters.items():
        if isinstance(one.default, (list, dict)):
            given = copy.deepcopy(one.default)
            type(module)(**{name: given})
            assert given == one.default, f"the constructor changed {name} to {given}"
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.load.values import realise
from layersmith.probe import parameters, source
from layersmith.probe.surroundings import preserved
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case, Construction

SHOWN = 60  # characters of a list
PLAIN = (bool, int, float, str, type(None))


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.INPUTS_UNTOUCHED)
def argument_modified(case: Case) -> Iterator[Finding]:
    """Build it with copies, and look at these."""
    construction = case.subject.construction
    given = _containers(construction) if construction is not None else {}
    if construction is None or not given:
        raise NotApplicable("it is built with no list and no dict")
    before = copy.deepcopy(given)
    try:
        with preserved(seed=case.seed):
            construction.cls(**{**realise(dict(construction.arguments)), **given})
    except Exception as error:
        raise NotApplicable("it is not built by its arguments as they are") from error
    cls = construction.cls
    for name in (name for name in given if given[name] != before[name]):
        yield Finding(
            f"{cls.__name__}() changes the {type(given[name]).__name__} that it is given as {name}: "
            f"{before[name]!s:.{SHOWN}} becomes {given[name]!s:.{SHOWN}}",
            where=name,
            file=parameters.file(cls),
            line=source.class_line(cls)[1],
            fix=f"work on a copy of {name}",
        )


def _containers(construction: Construction) -> dict[str, Any]:
    """Copies of the lists and dicts among the arguments and the defaults."""
    signature = inspect.signature(construction.cls).parameters
    held = {name: one.default for name, one in signature.items()} | dict(construction.arguments)
    found = {name: value for name, value in held.items() if name in signature and type(value) in (list, dict)}
    return {name: copy.deepcopy(value) for name, value in found.items() if value and _is_plain(value)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_plain, (*value, *value.values())))
    return all(map(_is_plain, value)) if isinstance(value, list | tuple) else type(value) in PLAIN


@argument_modified.bad("PutsTheInputFirst() changes the list that it is given as widths: [6, ")
class PutsTheInputFirst(nn.Module):
    def __init__(self, in_features: int = 6, widths: list[int] = [6]) -> None:  # noqa: B006 - that is the bug
        super().__init__()
        widths.insert(0, in_features)
        self.first, self.last = nn.Linear(widths[0], widths[1]), nn.Linear(widths[-1], 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x).relu())


@argument_modified.bad("NotesItsWidth() changes the dict that it is given as config: {'width': 6")
class NotesItsWidth(nn.Module):
    def __init__(self, config: dict[str, int] = {"width": 6}) -> None:  # noqa: B006 - as above
        super().__init__()
        self.linear = nn.Linear(config["width"], config["width"])
        config[f"layer{len(config)}"] = config["width"]

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


@argument_modified.good
class PutsItFirstInACopy(nn.Module):
    def __init__(self, in_features: int = 6, widths: list[int] = [6]) -> None:  # noqa: B006 - it is only read
        super().__init__()
        widths = [in_features, *widths]
        self.first, self.last = nn.Linear(widths[0], widths[1]), nn.Linear(widths[-1], 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x).relu())
