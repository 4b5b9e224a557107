"""Backward must compute the derivative of forward.

## Why it matters
A wrong gradient raises no error: the loss falls a little slower, or stops early, and nobody looks there. It comes from a
custom `autograd.Function`, or from a value that left the graph: `.detach()`, `.data`, `.item()`, NumPy.

## How it is tested
On a float64 copy, in train and in eval mode: the derivative along one random direction through all parameters
and inputs together, by finite differences and by backward. They agree or some tensor is wrong; then each
is asked alone, and the wrong elements are found. Points at kinks are moved off, noise is frozen. `--gradients full`
asks in float32 and at smaller and larger inputs as well. A value cut out of the graph is a warning, and a note where
that is usual: by `.detach()` or `no_grad` where every tensor still gets a gradient, in a loss, in train mode only. A
note, too, is a gradient where the derivative is zero everywhere (straight-through), one of a Function whose name says
that it reverses, passes straight through or is a surrogate, and one that forward itself changes by `register_hook`. A
warning again is an output that passes a parameter a gradient and is the same whatever its values, and a straight-through
with the other sign, `z.detach() + (q - z)`.

## How to fix it
Correct the named `backward`, or let autograd derive it. Where the gradient is meant to differ, say so, and only that it
is finite and repeats itself is asked: `@layersmith.contract(gradient="surrogate", reason="straight-through")`.

## How to reproduce it
    module, leaves = module.double(), [x.double().requires_grad_() for x in args]
    tensors = [*leaves, *module.parameters()]
    u, steps = torch.randn_like(run(*leaves)), [torch.randn_like(tensor) for tensor in tensors]
    gradients = torch.autograd.grad((run(*leaves) * u).sum(), tensors, allow_unused=True)
    slope = sum((g * step).sum() for g, step in zip(gradients, steps) if g is not None)
    move = lambda h: torch._foreach_add_([t.data for t in tensors], steps, alpha=h) and (run(*leaves) * u).sum().item()
    found = (move(1e-6) - move(-2e-6)) / 2e-6
    assert abs(found - slope) < 1e-4 * (1 + abs(slope)), f"by finite differences {found:.5g}, by backward {slope:.5g}"
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.observations import CUTS, findings, gradient_reports, is_cut_off, places
from layersmith.probe import phantom, tables
from layersmith.probe.gradients import WrongGradient
from layersmith.probe.gradients.watch import HOOK, VARIABLE
from layersmith.promises import Promise, contract
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

STOPS = {".detach()", "no_grad", VARIABLE}  # what authors write to stop a gradient
# Functions whose name says that they turn the gradient, or put another in its place.
TURNS = re.compile(r"(?i:revers|straight_?through|surrogate)|\bSTE|STE\b|STE(?=[A-Z_.])")
SWAP = "straight-through is `x + (y - x).detach()`: the value of y, the gradient of x"
DECLARE = '@layersmith.contract(gradient="surrogate", reason="...")'


@rule(
    severity=Severity.ERROR,
    since="0.1",
    promise=Promise.TRUE_GRADIENT,
    after=("forward-raises", "input-modified"),
)
def wrong_gradient(case: Case) -> Iterator[Finding]:
    """Report what is wrong in the first mode in which something is; what is cut off altogether is another rule's."""
    reports = case.once(gradient_reports)
    apart = tables.with_own_gradient(case.module)
    wrong = [e for e in reports.errors("derivative") if not (is_cut_off(e) or _is_not_finite(e))]
    wrong = [e for e in wrong if e.tensor not in apart]
    if wrong and reports.unjudged:
        raise NotApplicable(reports.unjudged)
    for same in places(wrong):
        severity = _severity(same, is_usual=reports.is_usual)
        found = findings(same, fix=_cure(same[0]), severity=severity)
        yield from (_with_phantom(case, one, same) if severity is Severity.NOTE else one for one in found)
    if wrong:
        return
    reason = case.subject.contract.reason
    if reason:
        raise NotApplicable(f"a surrogate ({reason}): only that it is finite and repeats itself was asked")
    if not any(report.judged for report in reports.both):
        reasons = [leg.why for report in reports.both for leg in report.legs if leg.why]
        raise NotApplicable(reasons[-1] if reasons else "nothing is differentiable")


def _is_not_finite(error: WrongGradient) -> bool:
    """Whether there is no gradient to judge: `nonfinite-gradient` says so."""
    return any(not math.isfinite(one.got) for one in error.worst)


def _severity(same: list[WrongGradient], *, is_usual: bool) -> Severity | None:
    """A note for what is meant as a rule, a warning for a cut, which can be meant; else the rule's own."""
    function = same[0].function
    if any(one.kind.startswith("not zero where") for one in same) or TURNS.search(function):
        return Severity.NOTE
    if function in STOPS or function == HOOK or (is_usual and function in CUTS):
        return Severity.NOTE
    return Severity.WARNING if function in CUTS else None


def _with_phantom(case: Case, found: Finding, same: list[WrongGradient]) -> Finding:
    """A warning, where an output passes on gradients and does not depend on the values: the wrong side was detached.

    And where it passes them on with the other sign.
    """
    if phantom.is_turned(found.file, found.line):
        said = (
            f"{found.message}; what is detached is subtracted again: its gradient comes with the other sign"
        )
        return replace(found, message=said, severity=Severity.WARNING, fix=SWAP)
    for error in same if same[0].function in STOPS else ():
        fresh = case.fresh(training=True)
        path = phantom.without_effect(fresh.module, fresh.inputs, error.tensor, seed=case.seed)
        if path:
            said = f"{found.message}; {path} passes {error.tensor} a gradient and is the same whatever its values"
            return replace(found, message=said, severity=Severity.WARNING, fix=SWAP)
    return found


def _cure(error: WrongGradient) -> str:
    if "inplace operation" in error.message:
        return "use the out-of-place operation: backward needs the value as it was"
    if error.function in CUTS:
        return f"keep the value in the graph; where it is stopped on purpose: {DECLARE}"
    return f"correct {error.function or error.module_class}; where it is meant: {DECLARE}"


class _Doubled(torch.autograd.Function):
    """Forgets its factor in backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


@wrong_gradient.bad("d loss/d input[0] is 0.5x")
class ForgetsTheFactor(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _Doubled.apply(x)


@wrong_gradient.bad("d loss/d input[0] is not what finite differences give")
class DividesByANumber(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / (1.0 + x.square().mean().item())


class _Rounds(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.codes = nn.Parameter(torch.randn(4, 6))

    def nearest(self, x: Tensor) -> Tensor:
        return self.codes[(x.unsqueeze(-2) - self.codes).square().sum(-1).argmin(-1)]


@wrong_gradient.bad("output passes codes a gradient and is the same whatever its values")
class DetachesTheWrongSide(_Rounds):
    def forward(self, x: Tensor) -> Tensor:
        y = self.nearest(x)
        return y + (x - y).detach()


class _Cubed(torch.autograd.Function):
    """Has a right backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient * 3 * x**2


@wrong_gradient.bad("its gradient comes with the other sign")
class RoundsWithTheOtherSign(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        z = self.linear(x)
        return z.detach() + (z.round() - z)


@wrong_gradient.good
class CubesRightly(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _Cubed.apply(x)


@wrong_gradient.good
class InitialisedByTheFirstBatch(nn.Module):
    """Its first call in train mode sets the scale, as ActNorm does; later calls do not."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(6))
        self.register_buffer("is_set", torch.zeros((), dtype=torch.bool))

    def forward(self, x: Tensor) -> Tensor:
        if self.training and not self.get_buffer("is_set"):
            with torch.no_grad():
                self.scale.div_(x.std(0))
                self.get_buffer("is_set").fill_(1)
        return x * self.scale


class _Rounded(torch.autograd.Function):
    """Straight-through."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


@wrong_gradient.good
@contract(gradient="surrogate", reason="straight-through rounding")
class RoundsStraightThrough(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _Rounded.apply(4 * x) / 4


@wrong_gradient.good(inputs=lambda: torch.randn(4, 5, 5))
class TakesItAsSymmetric(nn.Module):
    """Only half of the matrix is read, and the gradient is that of both."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.eigvalsh(x)
