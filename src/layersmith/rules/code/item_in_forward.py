"""Forward must not turn tensors with a gradient into Python numbers.

## Why it matters
`x.std().item()` is a number: its gradient is lost, the processor waits for the accelerator, and a compiler must
break its graph there.

## How it is tested
The module is called in train mode. `item()`, `tolist()` and `float()` of a floating tensor that carries a gradient are
reported with their lines. Whole numbers (lengths, sizes), and what runs under `no_grad` or on detached tensors, are not.

## How to fix it
Leave the tensor as it is: arithmetic with a tensor of one element works as with a number. For a log, `.detach()` first.

## How to reproduce it
    tensor = type(torch.ones(()))
    item, called = tensor.item, []
    tensor.item = lambda self: called.append(self.requires_grad) or item(self)
    try:
        run()
    finally:
        tensor.item = item
    assert not any(called), "a tensor that needs a gradient becomes a Python number"
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.observations import departures
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case


@rule(severity=Severity.NOTE, since="0.1", promise=Promise.PLAIN_CODE)
def item_in_forward(case: Case) -> Iterator[Finding]:
    """One finding a line."""
    seen = case.once(departures)
    for file, line in seen.lines("item"):
        yield Finding(
            "a tensor with a gradient becomes a Python number: its gradient is lost",
            file=file,
            line=line,
            fix="leave out .item() or float(): a tensor of one element works like a number",
        )


@item_in_forward.bad("becomes a Python number")
class DividesByANumber(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        return y / (1.0 + self.linear.weight.norm().item())


@item_in_forward.bad("becomes a Python number")
class FloatOfATemperature(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.temperature = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return (self.linear(x) / float(self.temperature)).softmax(-1) * self.temperature


@item_in_forward.good
class DividesByATensor(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        return y / (1.0 + self.linear.weight.norm()) / float(x.shape[-1])
