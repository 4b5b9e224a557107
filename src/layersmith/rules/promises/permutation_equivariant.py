"""A module that promises to be permutation-equivariant must not care about the order along that axis.

## Why it matters
A property that a module is built on is worth stating once, and asking every time it changes. Sets, point
clouds and graphs have no order: a position, a reshape or a convolution that sneaks in gives another answer
for the same set.

## How it is tested
The steps along the axis are moved by one place; the output must move with them. Zeros, ones, the given
input, others like it, quieter and louder ones are tried; the first that breaks the promise is made smaller
(fewer rows, more zeros, rounder numbers) as long as it still does, and printed.

## How to fix it
Use sums, means, maxima and attention without positions over that axis.

## How to reproduce it
    module.eval()
    axis = int(type(module).layersmith_contract.declared["permutation_equivariant"])
    assert torch.allclose(run(args[0].roll(1, axis)), run().roll(1, axis), rtol=1e-3, atol=1e-4), "the order matters"
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
    """What the contract may say: the axis, `permutation_equivariant=1`."""
    return declared.axis("permutation_equivariant", value)


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.DECLARED)
def permutation_equivariant(case: Case) -> Iterator[Finding]:
    """Compare both sides."""
    axis = read(promised(case, "permutation_equivariant"))

    def claim(f: Function, x: Tensor) -> Miss:
        order = torch.arange(x.shape[axis]).roll(1)
        moved = f(x.index_select(axis, order))
        return falsify.compared(moved, f(x).index_select(axis, order), ("f(permuted x)", "permuted f(x)"))

    says = f"is not permutation-equivariant along axis {axis}"
    fix = "use what does not know the order over that axis, or leave out the promise"
    yield from falsify.findings(case.module, case.inputs, claim, says=says, fix=fix)


@permutation_equivariant.bad("is not permutation-equivariant", inputs=lambda: torch.randn(3, 5, 6))
@contract(permutation_equivariant=1)
class AddsPositions(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.arange(x.shape[1], device=x.device).to(x.dtype)[:, None]


@permutation_equivariant.bad("is not permutation-equivariant", inputs=lambda: torch.randn(3, 5, 6))
@contract(permutation_equivariant=1)
class DifferenceToTheLast(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x[:, -1:]


@permutation_equivariant.good(inputs=lambda: torch.randn(3, 5, 6))
@contract(permutation_equivariant=1)
class DifferenceToTheMean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(1, keepdim=True)
