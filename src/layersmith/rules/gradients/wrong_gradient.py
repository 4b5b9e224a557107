"""Backward must compute the derivative of forward.

## Why it matters
A wrong gradient raises no error: the loss falls a little slower, or stops early, and nobody looks there. It comes from a
custom `autograd.Function`, or from a value that left the graph: `.detach()`, `.data`, `.item()`, NumPy.

## How it is tested
On a float64 copy, in train and in eval mode: the derivative along one random direction through all parameters
and inputs together, by finite differences and by backward. They agree or some tensor is wrong; then each
is asked alone, and the wrong elements are found. Points at kinks are moved off, noise is frozen.

## How to fix it
Correct the named `backward`, or let autograd derive it. Where the gradient is meant to differ (straight-through,
reversal), waive it: `@layersmith.contract(waive={"wrong-gradient": "straight-through"})`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import tree
from layersmith.probe.gradients import GradientReport, WrongGradient, gradients
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.TRUE_GRADIENT)
def wrong_gradient(case: Case) -> Iterator[Finding]:
    """Examine it in both modes; the first wrong one is reported."""
    reports: list[GradientReport] = []
    for training in (True, False):
        fresh = case.fresh(training=training)
        report = gradients(fresh.module, fresh.inputs, seed=case.seed)
        if not report.ok and _has_ctc(fresh):
            raise NotApplicable("torch's CTC loss has a right gradient only behind a log_softmax")
        if not report.ok:
            yield from (_finding(error) for error in report.errors)
            return
        reports.append(report)
    if not any(report.judged for report in reports):
        reasons = [leg.why for report in reports for leg in report.legs if leg.why]
        raise NotApplicable(reasons[-1] if reasons else "nothing is differentiable")


def _has_ctc(case: Case) -> bool:
    """Whether the graph of the outputs holds torch's CTC loss, whose backward folds in that of log_softmax."""
    for tensor in case.inputs.tensors():
        tensor.requires_grad_(tensor.is_floating_point())
    waiting = [y.grad_fn for y in tree.tensors(case.run()) if y.grad_fn is not None]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        if node.name().startswith("CtcLoss"):
            return True
        new = {parent for parent, _ in node.next_functions if parent is not None} - seen
        seen |= new
        waiting += new
    return False


def _finding(error: WrongGradient) -> Finding:
    is_cut = error.kind == "detached" or error.function.startswith(".")  # .detach(), .data, .item()
    numbers = {"got": error.got, "expected": error.expected, "ratio": error.ratio, "elements": error.elements}
    return Finding(
        error.message,
        where=error.tensor,
        file=error.file,
        line=error.line,
        fix="keep the value in the graph" if is_cut else f"correct {error.function or 'its backward'}",
        numbers=numbers,
        severity=Severity.WARNING if is_cut else None,  # a detach can be meant
    )


class _Doubled(torch.autograd.Function):
    """Forgets its factor in backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


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


@wrong_gradient.bad("d loss/d input[0] is 0.5x")
class ForgetsTheFactor(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _Doubled.apply(x)


@wrong_gradient.bad("d loss/d scale is zero")
class DetachesItsScale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(6))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale.data


@wrong_gradient.good
class CubesRightly(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _Cubed.apply(x)
