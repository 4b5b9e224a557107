"""No sigmoid, tanh or softmax may start where its slope is next to nothing.

## Why it matters
A tanh at 6 has a slope of 2e-5, a softmax that is one-hot hardly any: what comes before learns as good as nothing, at
whatever rate. Mostly a factor is too large, a division by sqrt(d) is missing, or a bias is far off.

## How it is tested
Sigmoid, tanh and softmax are watched in eval mode on several inputs. Reported is one that depends on parameters and
whose slope is below a hundredth of the steepest for 90 % of its values in every call; of a softmax, 90 % of the
distributions give 99 % to one of three or more. A gate that is meant to start open or closed is not: a sigmoid at one
end whose result is a factor or the output, unless it is 0 or 1 to the last digit; nor a softmax with a temperature,
or one behind a norm that is neutral yet.

## How to fix it
Scale what comes before: weights of std gain / sqrt(fan_in), scores over sqrt(d), biases near zero.

## How to reproduce it
    leaf = args[0].clone().requires_grad_()
    run(leaf, *args[1:]).sum().backward()
    assert leaf.grad.abs().max() > 1e-6, f"the largest gradient is {leaf.grad.abs().max():.1g}: something is saturated"
"""

from __future__ import annotations

import linecache
import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import leaves, source
from layersmith.probe.closeness import SATURATED_AT_INIT
from layersmith.probe.squashing import SQUASHING, Squashed, squashed
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

MEANT = re.compile(r"temp|tau\b|gumbel|hard|sharp|beta", re.IGNORECASE)


@rule(
    severity=Severity.WARNING,
    since="0.1",
    promise=Promise.READY_TO_LEARN,
    after=("forward-raises", "nondeterministic-eval", "exploding-signal"),
)
def saturated_at_init(case: Case) -> Iterator[Finding]:
    """One finding a line."""
    told: set[tuple[str, int]] = set()
    for calls in squashed(case.module, case.inputs, {*SQUASHING, "softmax"}):
        first = calls[0]
        is_flat = all(one.flat >= SATURATED_AT_INIT for one in calls)
        if not is_flat or (first.file, first.line) in told or _is_meant(case.module, calls):
            continue
        blamed = next(iter(leaves.nearest(first.result, case.module)), "")
        if not _is_neutral(case.module, blamed):
            told.add((first.file, first.line))
            yield _finding(case.module, first, blamed)


def _is_meant(module: nn.Module, calls: list[Squashed]) -> bool:
    if calls[0].operation == "softmax":
        text = linecache.getline(calls[0].file, calls[0].line)
        return calls[0].is_output or bool(MEANT.search(f"{text} {type(module).__name__}"))
    is_one_sided = all(one.is_one_sided for one in calls) and not all(map(_is_shut, calls))
    return calls[0].operation == "sigmoid" and is_one_sided and (calls[0].is_gate or calls[0].is_output)


def _is_shut(one: Squashed) -> bool:
    """Whether a gate is open or closed to the last digit: what it holds back is lost, and no step will move it."""
    last_digit = torch.finfo(one.result.dtype).eps
    return bool((torch.minimum(one.result, 1 - one.result) < last_digit).double().mean() >= SATURATED_AT_INIT)


def _is_neutral(module: nn.Module, name: str) -> bool:
    """Whether it is the scale of a norm as it starts: what is large then are the similarities of the inputs."""
    parameter = module.get_parameter(name) if name else torch.empty(0)
    return parameter.numel() > 0 and bool((parameter == 1).all())


def _finding(module: nn.Module, one: Squashed, blamed: str) -> Finding:
    values = one.values.double()
    file, line = (one.file, one.line) if one.line else source.parameter_line(module, blamed)
    what = "is nearly one-hot" if one.operation == "softmax" else "has hardly any slope"
    return Finding(
        f"{one.operation}() {what} for {one.flat:.0%} of what it gets: {float(values.mean()):.3g} +- "
        f"{float(values.std()):.3g}" + (f", from {blamed}" if blamed else ""),
        where=blamed,
        file=file,
        line=line,
        fix="scale its input to a spread of about 1: smaller weights or biases, or scores over sqrt(d)",
        numbers={"share": one.flat, "limit": SATURATED_AT_INIT, "std": float(values.std())},
    )


@saturated_at_init.bad("tanh() has hardly any slope")
class TanhOfTooMuch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 16)
        self.last = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(1000.0 * self.first(x)))


@saturated_at_init.bad("sigmoid() has hardly any slope")
class GateThatNeverOpens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.gate = nn.Linear(6, 6)
        nn.init.constant_(self.gate.bias, -20.0)

    def forward(self, x: Tensor) -> Tensor:
        opened = torch.sigmoid(self.gate(x))
        return opened * self.linear(x).relu() + (1 - opened) * x


@saturated_at_init.bad("softmax() is nearly one-hot", inputs=lambda: torch.randn(4, 8, 16))
class ScoresTooLarge(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(16, 16)
        self.key = nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.query(x) @ self.key(x).mT * 16.0**4
        return scores.softmax(-1) @ x


@saturated_at_init.good
class GateThatStartsOpen(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.gate = nn.Linear(6, 6)
        nn.init.zeros_(self.gate.weight)
        nn.init.constant_(self.gate.bias, 10.0)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.gate(x)) * self.linear(x)


@saturated_at_init.good(inputs=lambda: torch.randn(4, 8, 128))
class AttendsToItsLikes(nn.Module):
    """Vectors are like themselves, and no weight has a say in it yet."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(128)
        self.last = nn.Linear(128, 128)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        return self.last((normed @ normed.mT * 128**-0.5).softmax(-1) @ x)


@saturated_at_init.good(inputs=lambda: torch.randn(64, 8))
class NormalisesAsItTrains(nn.Module):
    """Before the first step the statistics of a batch norm are nobody's: it is its batch that counts."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(6):
            linear = nn.Linear(8, 8)
            nn.init.normal_(linear.weight)
            layers += [linear, nn.BatchNorm1d(8)]
        self.layers, self.gate, self.head = nn.Sequential(*layers), nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.gate(self.layers(x)).tanh())
