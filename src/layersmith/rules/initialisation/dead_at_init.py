"""Every activation must answer to some input from the start.

## Why it matters
A ReLU whose input is negative for whatever comes in gives zero and passes no gradient: all before it never learns.
Mostly a bias was filled with a large negative number, or a clamp has its bounds the wrong way round.

## How it is tested
ReLU, clamp, hardtanh and their like are watched in several calls: the inputs, mirrored, and other numbers as large and
twice as large. Reported is one that depends on parameters and gives one and the same end value to almost all its inputs
in every call, while its inputs differ, and so it is under other seeds.

## How to fix it
Start biases at zero; where a unit should seldom be active, at minus one or two standard deviations of its input.

## How to reproduce it
    seen = []
    for part in nn.Module.modules(module):
        part.register_forward_hook(lambda part, _, y: seen.append(y) if isinstance(part, nn.Linear) else None)
    module(*(torch.randn(64, *x.shape[1:]) for x in args))
    shares = [(y.reshape(-1, y.shape[-1]) > 0).any(0).float().mean() for y in seen]
    assert min(shares) > 0.5, f"of a layer, only {min(shares):.0%} of units are above zero for any of 64 inputs"
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import leaves, reading
from layersmith.probe.closeness import DEAD
from layersmith.probe.squashing import CUTTING, Squashed, squashed
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

AGAIN = 6  # seeds more, while it looks dead: a single unit is so under all of them once in 64 times


@rule(
    severity=Severity.WARNING,
    since="0.1",
    promise=Promise.READY_TO_LEARN,
    after=("forward-raises", "nondeterministic-eval"),
)
def dead_at_init(case: Case) -> Iterator[Finding]:
    """One finding a line, if it is dead under other seeds as well: of two units both may be, by chance."""
    dead = _dead(case)
    for seed in range(AGAIN):
        again = _dead(case.fresh(seed=case.seed + seed + 1)) if dead else {}
        dead = {place: one for place, one in dead.items() if place in again}
    for one in dead.values():
        yield _finding(case.module, one)


def _dead(case: Case) -> dict[tuple[str, int], Squashed]:
    """The first call of each activation that gives one value to all its inputs, by its line."""
    found: dict[tuple[str, int], Squashed] = {}
    for calls in squashed(case.module, case.inputs, CUTTING):
        if all(one.flat >= DEAD for one in calls):
            found.setdefault((calls[0].file, calls[0].line), calls[0])
    return found


def _finding(module: nn.Module, one: Squashed) -> Finding:
    values = one.values.double()
    names = leaves.nearest(one.result, module)
    blamed = next((name for name in names if name.endswith("bias")), next(iter(names), ""))
    file, line = reading.drawn_line(module, blamed) if blamed else (one.file, one.line)
    return Finding(
        f"{one.operation}() gives {float(one.result.detach().flatten()[0]):.3g} whatever the input: "
        f"what it gets is {float(values.mean()):.3g} +- {float(values.std()):.2g}"
        + (f", mostly from {blamed}" if blamed else ""),
        where=blamed,
        file=file,
        line=line,
        fix=f"start {blamed or 'what comes before it'} nearer to zero, for here its slope is zero and nothing learns",
        numbers={"share": one.flat, "limit": DEAD, "mean": float(values.mean()), "std": float(values.std())},
    )


@dead_at_init.bad("relu() gives 0 whatever the input")
class BiasFarBelow(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        nn.init.constant_(self.first.bias, -10.0)
        self.last = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(x)))


@dead_at_init.bad("hardtanh() gives 1 whatever the input")
class PinnedAtItsEnd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.activation = nn.Hardtanh()
        self.last = nn.Linear(8, 3)
        with torch.no_grad():
            self.first.bias.fill_(30.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.activation(self.first(x)))


@dead_at_init.good
class SeldomActive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 32)
        nn.init.constant_(self.first.bias, -1.0)
        self.last = nn.Linear(32, 3)
        self.log_scale = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(x))) * self.log_scale.clamp(max=4.0).exp()


@dead_at_init.good(inputs=lambda: torch.randn(16, 32, 4, 4))
class SqueezesToOneUnit(nn.Module):
    """What is squeezed to one number is below zero for half of all seeds: that is chance."""

    def __init__(self) -> None:
        super().__init__()
        self.squeeze = nn.Linear(32, 1, bias=False)
        self.excite = nn.Linear(1, 32)

    def forward(self, x: Tensor) -> Tensor:
        scale = self.excite(torch.relu(self.squeeze(x.amax((2, 3))))).sigmoid()
        return x * scale[:, :, None, None]
