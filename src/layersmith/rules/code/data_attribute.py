"""Forward must not go around autograd by `.data`.

## Why it matters
`self.weight.data` has the values of the weight and none of its gradient: it never learns. Written to, it changes the
parameter behind autograd's back, and the derivative of another function is computed.

## How it is tested
The module is called in train mode and every `.data` of a tensor with a gradient is noted. It is a warning where a
trainable parameter behind it reaches no output by another way, else a note. What runs under `no_grad` passes.

## How to fix it
Use the tensor itself. Where no gradient is meant: `.detach()`, or `with torch.no_grad():` around what is written.

## How to reproduce it
    run().sum().backward()
    cut = [name for name, p in module.named_parameters() if p.requires_grad and p.grad is None]
    assert not cut, f"no gradient reaches {cut}"
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


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.PLAIN_CODE)
def data_attribute(case: Case) -> Iterator[Finding]:
    """A line that cuts parameters off is a warning; any other that reads `.data` is a note."""
    seen = case.once(departures)
    lines = set()
    for found in seen.cut_off("data"):
        lines.add((found.file, found.line))
        yield Finding(
            f".data cuts off {found.named}: no gradient reaches {found.count} trainable numbers",
            where=found.paths[0],
            file=found.file,
            line=found.line,
            fix="use the tensor itself, without .data",
            numbers={"trainable_numbers": found.count},
        )
    for file, line in [place for place in seen.lines("data") if place not in lines]:
        yield Finding(
            ".data of a tensor with a gradient: what is done to it, autograd does not see",
            file=file,
            line=line,
            fix=".detach() to read, torch.no_grad() to write",
            severity=Severity.NOTE,
        )


@data_attribute.bad(".data cuts off weight")
class ReadsData(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.weight = nn.Parameter(torch.randn(6))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * self.weight.data


@data_attribute.bad(".data of a tensor with a gradient")
class ClampsData(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(6))

    def forward(self, x: Tensor) -> Tensor:
        self.scale.data.clamp_(max=10.0)
        return x * self.scale


@data_attribute.good
class ClampsUnderNoGrad(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(6))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale.clamp(max=10.0)
