"""A module that promises to be odd must give f(-x) = -f(x).

## Why it matters
A property that a module is built on is worth stating once, and asking every time it changes. A bias or an
even term that slips in breaks the symmetry that a sign convention relies on.

## How it is tested
f(-x) is compared with -f(x). Zeros, ones, the given input, others like it, quieter and louder ones are
tried; the first that breaks the promise is made smaller (fewer rows, more zeros, rounder numbers) as long
as it still does, and printed.

## How to fix it
Leave out biases; use odd activations only (tanh, not ReLU).

## How to reproduce it
    module.eval()
    assert torch.allclose(run(-args[0]), -run(), rtol=1e-3, atol=1e-4), "not odd"
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
    """What the contract may say: `odd=True`."""
    return declared.true("odd", value)


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.DECLARED)
def odd(case: Case) -> Iterator[Finding]:
    """Compare both sides."""
    promised(case, "odd")

    def claim(f: Function, x: Tensor) -> Miss:
        return falsify.compared(f(-x), -f(x), ("f(-x)", "-f(x)"))

    yield from falsify.findings(
        case.module,
        case.inputs,
        claim,
        says="is not odd",
        fix="leave out biases and even terms, or the promise",
    )


@odd.bad("is not odd")
@contract(odd=True)
class ShiftedTanh(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x + 0.5).tanh()


@odd.bad("is not odd")
@contract(odd=True)
class LinearWithBias(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


@odd.good
@contract(odd=True)
class TanhOfLinear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).tanh()
