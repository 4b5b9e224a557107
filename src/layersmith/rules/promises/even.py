"""A module that promises to be even must give f(-x) = f(x).

## Why it matters
A property that a module is built on is worth stating once, and asking every time it changes. Magnitudes,
energies and invariant features must not depend on a sign.

## How it is tested
f(-x) is compared with f(x). Zeros, ones, the given input, others like it, quieter and louder ones are
tried; the first that breaks the promise is made smaller (fewer rows, more zeros, rounder numbers) as long
as it still does, and printed.

## How to fix it
Use squares, absolute values and cosines.

## How to reproduce it
    module.eval()
    assert torch.allclose(run(-args[0]), run(), rtol=1e-3, atol=1e-4), "not even"
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import declared, falsify
from layersmith.probe.falsify import Function, Miss
from layersmith.promises import Promise, contract
from layersmith.rule import promised, rule
from layersmith.subject import Case


def read(value: object) -> bool:
    """What the contract may say: `even=True`."""
    return declared.true("even", value)


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.DECLARED)
def even(case: Case) -> Iterator[Finding]:
    """Compare both sides."""
    promised(case, "even")

    def claim(f: Function, x: Tensor) -> Miss:
        return falsify.compared(f(-x), f(x), ("f(-x)", "f(x)"))

    yield from falsify.findings(
        case.module,
        case.inputs,
        claim,
        says="is not even",
        fix="use squares or absolute values, or leave out the promise",
    )


@even.bad("is not even")
@contract(even=True)
class SquareAndMore(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x + 0.1 * x


@even.bad("is not even")
@contract(even=True)
class ReluOfLinear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).relu()


@even.good
@contract(even=True)
class EnergyOfLinear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).square()
