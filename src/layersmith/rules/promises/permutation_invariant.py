"""A module that promises to be permutation-invariant must not care about the order along that axis.

## Why it matters
A property that a module is built on is worth stating once, and asking every time it changes. Sets, point
clouds and graphs have no order: a position, a reshape or a convolution that sneaks in gives another answer
for the same set.

## How it is tested
The steps along the axis are moved by one place; the output must stay. Zeros, ones, the given input, others
like it, quieter and louder ones are tried; the first that breaks the promise is made smaller (fewer rows,
more zeros, rounder numbers) as long as it still does, and printed.

## How to fix it
Use sums, means, maxima and attention without positions over that axis.

## How to reproduce it
    module.eval()
    axis = int(type(module).layersmith_contract.declared["permutation_invariant"])
    assert torch.allclose(run(args[0].roll(1, axis)), run(), rtol=1e-3, atol=1e-4), "the order matters"
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


def read(value: object) -> int:
    """What the contract may say: the axis, `permutation_invariant=1`."""
    return declared.axis("permutation_invariant", value)


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.DECLARED)
def permutation_invariant(case: Case) -> Iterator[Finding]:
    """Compare both sides."""
    axis = read(promised(case, "permutation_invariant"))

    def claim(f: Function, x: Tensor) -> Miss:
        order = torch.arange(x.shape[axis]).roll(1)
        moved = f(x.index_select(axis, order))
        return falsify.compared(moved, f(x), ("f(permuted x)", "f(x)"))

    says = f"is not permutation-invariant along axis {axis}"
    fix = "use what does not know the order over that axis, or leave out the promise"
    yield from falsify.findings(case.module, case.inputs, claim, says=says, fix=fix)


@permutation_invariant.bad("is not permutation-invariant", inputs=lambda: torch.randn(3, 5, 6))
@contract(permutation_invariant=1)
class TakesTheLast(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, -1] + x.mean(1)


@permutation_invariant.bad("is not permutation-invariant", inputs=lambda: torch.randn(3, 5, 6))
@contract(permutation_invariant=1)
class WeighsByPlace(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        places = torch.linspace(0, 1, x.shape[1], dtype=x.dtype, device=x.device)
        return (x * places[:, None]).sum(1)


@permutation_invariant.good(inputs=lambda: torch.randn(3, 5, 6))
@contract(permutation_invariant=1)
class MeanAndMaximum(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1) + x.amax(1)
