"""A module that promises to be equivariant must give f(map_in(x)) = map_out(f(x)).

## Why it matters
A property that a module is built on is worth stating once, and asking every time it changes. Convolutions
with shifts, group layers with rotations: padding, strides and positions break it at the edges first.

## How it is tested
The output of the mapped input is compared with the mapped output of the input. Zeros, ones, the given
input, others like it, quieter and louder ones are tried; the first that breaks the promise is made smaller
(fewer rows, more zeros, rounder numbers) as long as it still does, and printed.

## How to fix it
Look at what knows positions or orientations: padding, strides, biases by place.

## How to reproduce it
    module.eval()
    first, last = type(module).layersmith_contract.declared["equivariant"]
    assert torch.allclose(run(first(args[0])), last(run()), rtol=1e-3, atol=1e-4), "not equivariant"
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import declared, falsify
from layersmith.probe.falsify import Function, Miss
from layersmith.promises import Promise, contract
from layersmith.rule import promised, rule
from layersmith.subject import Case


def read(value: object) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """What the contract may say: two functions, `equivariant=(map_in, map_out)`."""
    return declared.maps("equivariant", value)


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.DECLARED)
def equivariant(case: Case) -> Iterator[Finding]:
    """Compare both sides."""
    map_in, map_out = read(promised(case, "equivariant"))

    def claim(f: Function, x: Tensor) -> Miss:
        return falsify.compared(f(map_in(x)), map_out(f(x)), ("f(map_in(x))", "map_out(f(x))"))

    fix = "look at padding, strides and biases by place, or leave out the promise"
    yield from falsify.findings(case.module, case.inputs, claim, says="is not equivariant", fix=fix)


def _shift(x: Tensor) -> Tensor:
    return x.roll(1, dims=-1)


@equivariant.bad("is not equivariant", inputs=lambda: torch.randn(3, 6, 9))
@contract(equivariant=(_shift, _shift))
class PadsWithZeros(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(6, 6, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


@equivariant.bad("is not equivariant")
@contract(equivariant=(torch.neg, torch.neg))
class ReluIsNotOdd(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.relu()


@equivariant.good(inputs=lambda: torch.randn(3, 6, 9))
@contract(equivariant=(_shift, _shift))
class PadsInACircle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(6, 6, 3, padding=1, padding_mode="circular")

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)
