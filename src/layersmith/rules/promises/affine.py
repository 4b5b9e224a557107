"""A module that promises to be affine must keep affine combinations.

## Why it matters
A property that a module is built on is worth stating once, and asking every time it changes. What is affine
may be merged with its neighbours; a clamp or a norm inside makes that wrong.

## How it is tested
f(3 x - 2 y) is compared with 3 f(x) - 2 f(y); y are the values of x, shifted by one place. Zeros, ones, the
given input, others like it, quieter and louder ones are tried; the first that breaks the promise is made
smaller (fewer rows, more zeros, rounder numbers) as long as it still does, and printed.

## How to fix it
Leave out what is not linear.

## How to reproduce it
    module.eval()
    x, y = args[0], torch.randn_like(args[0]) * 3
    assert torch.allclose(run((x + y) / 2), (run(x) + run(y)) / 2, rtol=1e-3, atol=1e-4), "not affine"
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
    """What the contract may say: `affine=True`."""
    return declared.true("affine", value)


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.DECLARED)
def affine(case: Case) -> Iterator[Finding]:
    """Compare both sides."""
    promised(case, "affine")

    def claim(f: Function, x: Tensor) -> Miss:
        y = x.reshape(-1).roll(1).reshape(x.shape)
        return falsify.compared(f(3 * x - 2 * y), 3 * f(x) - 2 * f(y), ("f(3 x - 2 y)", "3 f(x) - 2 f(y)"))

    yield from falsify.findings(
        case.module,
        case.inputs,
        claim,
        says="is not affine",
        fix="leave out what is not affine, or the promise",
    )


@affine.bad("is not affine")
@contract(affine=True)
class ClampsItsInput(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x.clamp(max=1)


@affine.bad("is not affine")
@contract(affine=True)
class NormalisesItsInput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x / x.norm(dim=-1, keepdim=True).clamp(min=1e-6))


@affine.good
@contract(affine=True)
class PlainMap(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)
