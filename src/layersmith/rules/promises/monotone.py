"""A module that promises to be monotone must not fall where its input rises.

## Why it matters
A property that a module is built on is worth stating once, and asking every time it changes. Prices,
survival curves, quantiles and flows are wrong once a weight turns negative.

## How it is tested
Every input is raised, by unequal amounts and in one place alone: no output may fall (rise, where
`decreasing` is promised). Zeros, ones, the given input, others like it, quieter and louder ones are tried;
the first that breaks the promise is made smaller (fewer rows, more zeros, rounder numbers) as long as it
still does, and printed.

## How to fix it
Keep the weights positive (softplus of the parameter) and the activations monotone.

## How to reproduce it
    module.eval()
    x = torch.linspace(-5, 5, 400).unsqueeze(-1) * torch.ones(args[0].shape[-1])
    steps = run(x).diff(dim=0)
    falling = type(module).layersmith_contract.declared["monotone"] == "decreasing"
    assert (-steps if falling else steps).min() > -1e-5, "not monotone"
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import declared, falsify
from layersmith.probe.falsify import Function, Miss
from layersmith.promises import Promise, contract
from layersmith.rule import promised, rule
from layersmith.subject import Case


def read(value: object) -> str:
    """What the contract may say: `monotone="increasing"` or `"decreasing"`."""
    return declared.one_of("monotone", value, ("increasing", "decreasing"))


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.DECLARED)
def monotone(case: Case) -> Iterator[Finding]:
    """Compare both sides."""
    direction = read(promised(case, "monotone"))
    sign = 1 if direction == "increasing" else -1

    def claim(f: Function, x: Tensor) -> Miss:
        misses = [_fallen(f(x), f(x + rise), sign) for rise in _rises(x)]
        return max(misses, key=lambda miss: miss.gap.max_abs - miss.gap.limit)

    fix = "keep weights positive and activations monotone, or leave out the promise"
    yield from falsify.findings(case.module, case.inputs, claim, says=f"is not monotone {direction}", fix=fix)


def _rises(x: Tensor) -> Iterator[Tensor]:
    yield torch.ones_like(x)
    yield 0.5 * x.abs() + torch.linspace(0, 1, x.numel(), dtype=x.dtype, device=x.device).reshape(x.shape)
    for place in range(min(x.shape[-1], 8)) if x.ndim else ():
        rise = torch.zeros_like(x)
        rise[..., place] = 1.0
        yield rise


def _fallen(before: Tensor, after: Tensor, sign: int) -> Miss:
    """How far an output moved the wrong way, beside what rounding explains."""
    kept = torch.maximum(sign * before, sign * after)  # equals the later one where it moved the right way
    return falsify.compared(sign * kept, after, ("f(x)", "f(x + rise)"))


@monotone.bad("is not monotone increasing")
@contract(monotone="increasing")
class Silu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.silu(x)


@monotone.bad("is not monotone decreasing")
@contract(monotone="decreasing")
class SumOfAnyWeights(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


@monotone.good
@contract(monotone="increasing")
class PositiveWeights(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.randn(3, 6) - 2)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.raw.exp()).tanh()
