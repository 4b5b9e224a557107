"""Backward must compute the derivative of forward.

## Why it matters
A wrong gradient raises no error: the loss falls a little slower, or stops early, and nobody looks there. It comes from a
custom `autograd.Function`, or from a value that left the graph: `.detach()`, `.data`, `.item()`, NumPy.

## How it is tested
On a float64 copy, in train and in eval mode: the derivative along one random direction through all parameters
and inputs together, by finite differences and by backward. They agree or some tensor is wrong; then each
is asked alone, and the wrong elements are found. Points at kinks are moved off, noise is frozen. A gradient cut by
`.detach()` or `no_grad` is a warning, and a note where that is usual: in a loss, in train mode only (noise, running
statistics), or for an input of a part without a gradient (a frozen backbone).

## How to fix it
Correct the named `backward`, or let autograd derive it. Where the gradient is meant to differ (straight-through,
reversal), waive it: `@layersmith.contract(waive={"wrong-gradient": "straight-through"})`.

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

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import leaves, tree
from layersmith.probe.gradients import GradientReport, WrongGradient, gradients
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

STOPS = {".detach()", "no_grad"}  # what authors write to stop a gradient


@rule(
    severity=Severity.ERROR,
    since="0.1",
    promise=Promise.TRUE_GRADIENT,
    after=("forward-raises", "input-modified"),
)
def wrong_gradient(case: Case) -> Iterator[Finding]:
    """Examine it in both modes; the first wrong one is reported."""
    reports = {training: _examined(case, training=training) for training in (True, False)}
    wrong = next((report for report in reports.values() if not report.ok), None)
    if wrong is not None and _has_ctc(case.fresh(training=not reports[True].ok)):
        raise NotApplicable("torch's CTC loss has a right gradient only behind a log_softmax")
    if wrong is not None:
        is_usual = reports[False].ok or all(y.ndim == 0 for y in tree.tensors(case.fresh().run()))
        yield from _findings(wrong.errors, is_usual=is_usual)
    elif not any(report.judged for report in reports.values()):
        reasons = [leg.why for report in reports.values() for leg in report.legs if leg.why]
        raise NotApplicable(reasons[-1] if reasons else "nothing is differentiable")


def _examined(case: Case, *, training: bool) -> GradientReport:
    """Of a module as built; and where that is wrong, of one that was called before: the first call may initialise."""
    fresh, used = case.fresh(training=training), case.fresh(training=training)
    report = gradients(fresh.module, fresh.inputs, seed=case.seed)
    if report.ok or not training:
        return report
    used.run()
    again = gradients(used.module, used.inputs, seed=case.seed)
    return again if again.ok and again.judged else report


def _has_ctc(case: Case) -> bool:
    """Whether the outputs come from torch's CTC loss, whose backward folds in that of log_softmax."""
    for tensor in case.inputs.tensors():
        tensor.requires_grad_(tensor.is_floating_point())
    nodes = leaves.nodes_behind(tree.tensors(case.run()))
    return any(node.name().startswith("CtcLoss") for node in nodes)


def _findings(errors: Iterable[WrongGradient], *, is_usual: bool) -> Iterator[Finding]:
    """One finding for all tensors that go wrong at one line."""
    places: dict[tuple[str, int, str], list[WrongGradient]] = {}
    for error in errors:
        places.setdefault((error.file, error.line, error.function), []).append(error)
    for same in places.values():
        is_input = all(one.got == 0 and one.tensor.startswith("input[") for one in same)
        yield _finding(same, is_meant=same[0].function in STOPS and (is_usual or is_input))


def _finding(errors: list[WrongGradient], *, is_meant: bool) -> Finding:
    first, *others = errors
    is_cut = first.function.startswith(".") or first.function in {"no_grad", "float()", "int()", "bool()"}
    more = f"; and so is d loss/d {', '.join(one.tensor for one in others)}" if others else ""
    cure = "keep the value in the graph, or waive it where the gradient is stopped on purpose"
    if "inplace operation" in first.message:
        cure = "use the out-of-place operation: backward needs the value as it was"
    return Finding(
        first.message + more,
        where=first.tensor,
        file=first.file,
        line=first.line,
        fix=cure if is_cut or not first.function else f"correct {first.function}, or waive it if it is meant",
        numbers={name: getattr(first, name) for name in ("got", "expected", "ratio", "elements")},
        severity=Severity.NOTE if is_meant else Severity.WARNING if is_cut else None,  # a cut can be meant
    )


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


@wrong_gradient.bad("d loss/d scale is zero")
class DetachesItsScale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(6))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale.data


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
