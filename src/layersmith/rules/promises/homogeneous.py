"""A module that promises to be positively homogeneous must give f(a x) = a^k f(x) for a > 0.

## Why it matters
A property that a module is built on is worth stating once, and asking every time it changes. Scaled ReLU
networks without biases are homogeneous of degree 1: how they start, and how they are normalised, rests on
it.

## How it is tested
f(a x) is compared with a^k f(x) for a of 2, 0.5 and 10; k is the number promised. Zeros, ones, the given
input, others like it, quieter and louder ones are tried; the first that breaks the promise is made smaller
(fewer rows, more zeros, rounder numbers) as long as it still does, and printed.

## How to fix it
Leave out biases, epsilons and saturating activations.

## How to reproduce it
    module.eval()
    degree = type(module).layersmith_contract.declared["homogeneous"]
    for scale in (0.1, 10.0):
        x = args[0]
        assert torch.allclose(run(scale * x), scale**degree * run(x), rtol=1e-3, atol=1e-4), f"not so for {scale} x"
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


def read(value: object) -> float:
    """What the contract may say: the degree, `homogeneous=1`."""
    return declared.number("homogeneous", value)


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.DECLARED)
def homogeneous(case: Case) -> Iterator[Finding]:
    """Compare both sides."""
    degree = read(promised(case, "homogeneous"))

    def claim(f: Function, x: Tensor) -> Miss:
        misses = [
            falsify.compared(f(a * x), a**degree * f(x), (f"f({a:g} x)", f"{a:g}^{degree:g} f(x)"))
            for a in (2.0, 0.5, 10.0)
        ]
        return max(misses, key=lambda miss: miss.gap.max_abs - miss.gap.limit)

    says = f"is not positively homogeneous of degree {degree:g}"
    fix = "leave out biases, epsilons and saturation, or the promise"
    yield from falsify.findings(case.module, case.inputs, claim, says=says, fix=fix)


@homogeneous.bad("is not positively homogeneous")
@contract(homogeneous=1)
class SoftplusForRelu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.softplus(x)


@homogeneous.bad("is not positively homogeneous")
@contract(homogeneous=2)
class CubeForSquare(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.abs() ** 3


@homogeneous.good
@contract(homogeneous=1)
class ReluOfLinear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).relu()
