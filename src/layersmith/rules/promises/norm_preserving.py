"""A module that promises to preserve norms must give |f(x)| = |x| along the last axis.

## Why it matters
A property that a module is built on is worth stating once, and asking every time it changes. Rotations,
permutations and orthogonal maps keep lengths: attention scores, invertible networks and stable recurrences
rely on it.

## How it is tested
The norms of f(x) and of x along the last axis are compared. Zeros, ones, the given input, others like it,
quieter and louder ones are tried; the first that breaks the promise is made smaller (fewer rows, more
zeros, rounder numbers) as long as it still does, and printed.

## How to fix it
Rotate by pairs of one angle; keep the matrix orthogonal (`torch.nn.utils.parametrizations.orthogonal`).

## How to reproduce it
    module.eval()
    assert torch.allclose(run().norm(dim=-1), args[0].norm(dim=-1), rtol=1e-3), "the norm changes"
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


def read(value: object) -> bool:
    """What the contract may say: `norm_preserving=True`."""
    return declared.true("norm_preserving", value)


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.DECLARED)
def norm_preserving(case: Case) -> Iterator[Finding]:
    """Compare both sides."""
    promised(case, "norm_preserving")

    def claim(f: Function, x: Tensor) -> Miss:
        return falsify.compared(f(x).norm(dim=-1), x.norm(dim=-1), ("|f(x)|", "|x|"))

    yield from falsify.findings(
        case.module,
        case.inputs,
        claim,
        says="does not preserve norms",
        fix="keep the map orthogonal, or leave out the promise",
    )


@norm_preserving.bad("does not preserve norms")
@contract(norm_preserving=True)
class RotatesByTwoAngles(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=-1)
        return torch.cat([a * 0.6 - b * 0.8, a * 0.6 + b * 0.8], dim=-1)


@norm_preserving.bad("does not preserve norms")
@contract(norm_preserving=True)
class PlainLinear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


@norm_preserving.good
@contract(norm_preserving=True)
class RotatesByOneAngle(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=-1)
        return torch.cat([a * 0.6 - b * 0.8, a * 0.8 + b * 0.6], dim=-1)
