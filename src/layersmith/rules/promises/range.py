"""A module that promises a range must keep its output in it.

## Why it matters
A property that a module is built on is worth stating once, and asking every time it changes. A probability
of 1.2 or a negative variance is found out late, as a NaN in a logarithm.

## How it is tested
Every output must lie between the two numbers, ends included. Zeros, ones, the given input, others like it,
quieter and louder ones are tried; the first that breaks the promise is made smaller (fewer rows, more
zeros, rounder numbers) as long as it still does, and printed.

## How to fix it
Clamp, or use an activation with that range; add epsilons inside, not outside.

## How to reproduce it
    module.eval()
    low, high = type(module).layersmith_contract.declared["range"]
    for scale in (1.0, 100.0):
        y = run(scale * args[0])
        assert low <= y.min() and y.max() <= high, f"from {y.min():.3g} to {y.max():.3g}"
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import arguments, declared, edges, falsify
from layersmith.probe.falsify import Function, Miss
from layersmith.promises import Promise, contract
from layersmith.rule import promised, rule
from layersmith.subject import Case

OF_TARGETS = re.compile(r"(?i)loss|metric|criterion|dice|iou")


def read(value: object) -> tuple[float, float]:
    """What the contract may say: two numbers, `range=(0, 1)`."""
    return declared.interval("range", value)


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.DECLARED)
def range(case: Case) -> Iterator[Finding]:  # noqa: A001 - the keyword of the contract
    """Compare both sides."""
    low, high = read(promised(case, "range", is_of_one=not _are_alike(case)))

    def claim(f: Function, x: Tensor) -> Miss:
        return falsify.compared(y := f(x), y.clamp(low, high), ("an output", "the end of the range"))

    says = f"leaves its range [{low:g}, {high:g}]"
    fix = "clamp the output, or state the range that it has"
    yield from falsify.findings(case.module, case.inputs, claim, says=says, fix=fix)


def _are_alike(case: Case) -> bool:
    """Whether all inputs are numbers of one shape that layers take, whatever they are: no targets, no probabilities."""
    if not any(True for _ in case.module.parameters()):
        return False
    named = [*arguments.named(case.module, case.inputs)]
    are_free = not any(edges.KEPT.search(name) for _, name, _ in named) and not case.subject.doubt
    is_plain = all(x.is_floating_point() and x.shape == named[0][2].shape for _, _, x in named)
    return len(named) > 1 and are_free and is_plain and not OF_TARGETS.search(type(case.module).__name__)


@range.bad("leaves its range")
@contract(range=(0, 1))
class SigmoidAndMore(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 1.1 * x.sigmoid()


@range.bad("leaves its range")
@contract(range=(0, math.inf))
class VarianceWithoutClamp(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x * x).mean(-1) - 1.5 * x.mean(-1) ** 2


@range.good
@contract(range=(0, 1))
class PlainSigmoid(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sigmoid()
