"""No column of an input may go unread because another was picked in its place.

## Why it matters
`self.month(x[..., 0]) + self.day(x[..., 0]) + self.hour(x[..., 2])`: a line was copied and its number was not changed.
Shapes fit and the loss falls; the day never reaches the model.

## How it is tested
The source of forward is read: a column between others that nothing picks, where its neighbour is given to two layers of
the module, and each layer gets but one column.

## How to fix it
Give the layer its own column.

## How to reproduce it
    import ast
    import inspect
    import textwrap
    tree = ast.parse(textwrap.dedent(inspect.getsource(type(module).forward)))
    picked = [one.slice.elts[-1].value for one in ast.walk(tree) if isinstance(one, ast.Subscript)]
    assert len({*picked}) == len(picked), f"columns {sorted(picked)} are picked"
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import columns, source
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.EVERY_INPUT_MATTERS)
def repeated_column(case: Case) -> Iterator[Finding]:
    """Read the forward of the class."""
    yield from read(type(case.module))


@repeated_column.by_source
def read(cls: Any) -> Iterator[Finding]:
    """The same of a class that nobody could call."""
    forward = source.function_node(vars(cls).get("forward"))
    for one in columns.skipped(forward) if forward is not None else ():
        yield Finding(
            f"column {one.column} of {one.name} has no effect: {' and '.join(one.layers)} both get column {one.twice}",
            where=one.name,
            file=source.file_of(cls),
            line=one.line,
            fix=f"give one of them column {one.column}",
        )


class _Dates(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.year, self.month, self.day = (nn.Embedding(4, 6) for _ in range(3))


def _dates() -> Tensor:
    return torch.randint(0, 4, (2, 5, 3))


@repeated_column.bad("column 1 of x has no effect: year and month both get column 0", inputs=_dates)
class ReadsTheYearTwice(_Dates):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.year(x[..., 0]) + self.month(x[..., 0]) + self.day(x[..., 2])
        return y


@repeated_column.bad("column 1 of dates has no effect: month and day both get column 2", inputs=_dates)
class ReadsTheDayTwice(_Dates):
    def forward(self, x: Tensor) -> Tensor:
        dates = x.long()
        parts = [self.year(dates[:, :, 0]), self.month(dates[:, :, 2]), self.day(dates[:, :, 2])]
        return torch.cat(parts, dim=-1)


@repeated_column.good(inputs=_dates)
class ReadsEachColumn(_Dates):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.year(x[..., 0]) + self.month(x[:, :, 1]) + self.day(x[..., 2])
        return y


@repeated_column.good(inputs=_dates)
class EmbedsOneColumnInTwoWays(_Dates):
    """As wide and deep models do."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.year(x[..., 0]) + self.month(x[..., 0]) + self.day(x[..., 1])
        return y


@repeated_column.good(inputs=_dates)
class PredictsTwoFromTheLast(_Dates):
    """Two heads read one place on purpose, as in a decision transformer; the place that nobody reads is another."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.year(x[:, :, 2]) + self.month(x[:, :, 2]) + self.day(x[:, :, 1])
        return y
