"""A module that promises to be causal along an axis must not let a later step change an earlier output.

## Why it matters
A property that a module is built on is worth stating once, and asking every time it changes. Generation,
streaming and forecasting have no future to look at.

## How it is tested
From several steps on, the input is replaced, quietly and loudly; the outputs before must not move.
`future-leak` asks further. Zeros, ones, the given input, others like it, quieter and louder ones are tried;
the first that breaks the promise is made smaller (fewer rows, more zeros, rounder numbers) as long as it
still does, and printed.

## How to fix it
`torch.triu(ones, diagonal=1)` is what to hide; pad convolutions on the left only.

## How to reproduce it
    module.eval()
    axis = int(type(module).layersmith_contract.declared["causal"])
    changed = args[0].clone()
    changed.select(axis, -1).add_(1.0)
    one, other = (y.narrow(axis, 0, y.shape[axis] - 1) for y in (run(), run(changed)))
    assert torch.allclose(one, other, rtol=1e-3, atol=1e-5), f"earlier steps moved by {(one - other).abs().max():.2g}"
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
    """What the contract may say: the axis of time, `causal=1`."""
    return declared.axis("causal", value)


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.DECLARED)
def causal(case: Case) -> Iterator[Finding]:
    """Compare both sides."""
    axis = read(promised(case, "causal"))

    def claim(f: Function, x: Tensor) -> Miss:
        misses = [_before(f, x, axis, cut, loud) for cut in range(1, x.shape[axis]) for loud in (1, 4)]
        return max(misses, key=lambda miss: miss.gap.max_abs - miss.gap.limit)

    fix = "hide or leave out what comes later, or leave out the promise"
    yield from falsify.findings(
        case.module, case.inputs, claim, says=f"is not causal along axis {axis}", fix=fix
    )


def _before(f: Function, x: Tensor, axis: int, cut: int, loud: int) -> Miss:
    """The outputs before a step, for an input and for one that differs from that step on."""
    later = x.narrow(axis, cut, x.shape[axis] - cut)
    other = loud * (later + 1) if x.is_floating_point() else x.narrow(axis, 0, 1).expand_as(later)
    changed = torch.cat([x.narrow(axis, 0, cut), other], dim=axis)
    sides = [y.narrow(axis, 0, min(cut, y.shape[axis])) for y in (f(x), f(changed))]
    names = ("an earlier output", f"the one after a change from step {cut} on")
    return falsify.compared(sides[0], sides[1], names)


@causal.bad("is not causal", inputs=lambda: torch.randn(3, 5, 6))
@contract(causal=1)
class CentersOverTime(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(1, keepdim=True)


@causal.bad("is not causal", inputs=lambda: torch.randn(3, 6, 9))
@contract(causal=-1)
class SmoothsBothWays(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(6, 6, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


@causal.good(inputs=lambda: torch.randn(3, 5, 6))
@contract(causal=1)
class RunningMean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        steps = torch.arange(1, x.shape[1] + 1, device=x.device)[:, None]
        return x.cumsum(1) / steps
