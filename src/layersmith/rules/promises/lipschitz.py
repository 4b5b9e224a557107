"""A module that promises a Lipschitz bound must not stretch any distance by more.

## Why it matters
A property that a module is built on is worth stating once, and asking every time it changes. Critics,
certified defences and invertible residual blocks are wrong as soon as one direction is stretched more.

## How it is tested
|f(x) - f(y)| / |x - y| is taken for a y near x, in the direction that backward says is stretched most (five
steps of power iteration), and must not exceed the bound. Zeros, ones, the given input, others like it,
quieter and louder ones are tried; the first that breaks the promise is made smaller (fewer rows, more
zeros, rounder numbers) as long as it still does, and printed.

## How to fix it
Normalise every layer spectrally; count the skip connection, and the scale of the activation.

## How to reproduce it
    bound, x = type(module).layersmith_contract.declared["lipschitz"], args[0][:1]
    ratios = []
    for _ in range(200):
        step = torch.randn_like(x) * 1e-2
        with torch.no_grad():
            ratios.append(float((module.eval()(x + step) - run(x)).norm() / step.norm()))
    assert max(ratios) <= bound * 1.01, f"stretches by {max(ratios):.3g}"
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import closeness, declared, falsify, stretch
from layersmith.probe.falsify import Function, Miss
from layersmith.promises import Promise, contract
from layersmith.rule import promised, rule
from layersmith.subject import Case


def read(value: object) -> float:
    """What the contract may say: the bound, `lipschitz=1.0`."""
    return declared.number("lipschitz", value)


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.DECLARED)
def lipschitz(case: Case) -> Iterator[Finding]:
    """Compare both sides."""
    bound = read(promised(case, "lipschitz"))

    def claim(f: Function, x: Tensor) -> Miss:
        found = torch.stack(
            [stretch.widest(f, x, seed=seed, near=closeness.NEAR) for seed in range(2)]
        ).amax()
        miss = falsify.compared(found, found.clamp(max=bound), ("a distance's stretch", "the bound"))
        return Miss(closeness.Gap("", miss.gap.max_abs, bound * closeness.STRETCH), miss.text)

    fix = "normalise every layer spectrally, or state the bound that holds"
    yield from falsify.findings(case.module, case.inputs, claim, says="exceeds its Lipschitz bound", fix=fix)


@lipschitz.bad("exceeds its Lipschitz bound")
@contract(lipschitz=1.0)
class TwiceTheSine(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (2 * x).sin()


@lipschitz.bad("exceeds its Lipschitz bound")
@contract(lipschitz=1.0)
class ResidualOfOne(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale.tanh() * x


@lipschitz.good
@contract(lipschitz=1.0)
class HalfResidual(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * (x + x.sin())
