"""A module that promises to be linear must keep linear combinations.

## Why it matters
A property that a module is built on is worth stating once, and asking every time it changes. What is linear
may be merged, transposed and inverted; a bias or a clamp makes all that wrong.

## How it is tested
f(2 x - 3 y) is compared with 2 f(x) - 3 f(y); y are the values of x, shifted by one place. Zeros, ones, the
given input, others like it, quieter and louder ones are tried; the first that breaks the promise is made
smaller (fewer rows, more zeros, rounder numbers) as long as it still does, and printed.

## How to fix it
Leave out what is not linear; a bias makes it affine.

## How to reproduce it
    module.eval()
    x, y = args[0], torch.randn_like(args[0]) * 3
    assert torch.allclose(run(x - 2 * y), run(x) - 2 * run(y), rtol=1e-3, atol=1e-4), "not linear"
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
    """What the contract may say: `linear=True`."""
    return declared.true("linear", value)


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.DECLARED)
def linear(case: Case) -> Iterator[Finding]:
    """Compare both sides."""
    promised(case, "linear")

    def claim(f: Function, x: Tensor) -> Miss:
        y = x.reshape(-1).roll(1).reshape(x.shape)
        return falsify.compared(f(2 * x - 3 * y), 2 * f(x) - 3 * f(y), ("f(2 x - 3 y)", "2 f(x) - 3 f(y)"))

    yield from falsify.findings(
        case.module,
        case.inputs,
        claim,
        says="is not linear",
        fix="leave out what is not linear, or the promise",
    )


@linear.bad("is not linear")
@contract(linear=True)
class ClampsItsInput(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x.clamp(max=1)


@linear.bad("is not linear")
@contract(linear=True)
class NormalisesItsInput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x / x.norm(dim=-1, keepdim=True).clamp(min=1e-6))


@linear.good
@contract(linear=True)
class PlainMap(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)
