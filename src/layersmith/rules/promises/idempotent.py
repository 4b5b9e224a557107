"""A module that promises to be idempotent must give f(f(x)) = f(x).

## Why it matters
A property that a module is built on is worth stating once, and asking every time it changes. Projections,
normalisations and quantisers are meant to change nothing the second time.

## How it is tested
f(f(x)) is compared with f(x). Zeros, ones, the given input, others like it, quieter and louder ones are
tried; the first that breaks the promise is made smaller (fewer rows, more zeros, rounder numbers) as long
as it still does, and printed.

## How to fix it
Project onto the set, not towards it.

## How to reproduce it
    module.eval()
    assert torch.allclose(run(run()), run(), rtol=1e-3, atol=1e-4), "a second time changes the result"
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
    """What the contract may say: `idempotent=True`."""
    return declared.true("idempotent", value)


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.DECLARED)
def idempotent(case: Case) -> Iterator[Finding]:
    """Compare both sides."""
    promised(case, "idempotent")

    def claim(f: Function, x: Tensor) -> Miss:
        return falsify.compared(f(f(x)), f(x), ("f(f(x))", "f(x)"))

    yield from falsify.findings(
        case.module,
        case.inputs,
        claim,
        says="is not idempotent",
        fix="project onto the set, not towards it, or leave out the promise",
    )


@idempotent.bad("is not idempotent")
@contract(idempotent=True)
class HalfWayToTheSphere(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * (x + nn.functional.normalize(x, dim=-1))


@idempotent.bad("is not idempotent")
@contract(idempotent=True)
class SoftThreshold(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sign() * (x.abs() - 0.5).relu()


@idempotent.good
@contract(idempotent=True)
class OntoTheSphere(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.normalize(x, dim=-1)
