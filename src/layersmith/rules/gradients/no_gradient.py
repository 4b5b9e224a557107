"""What forward uses must get its gradient, unless that is stopped on purpose.

## Why it matters
A parameter that is used as `.data`, detached, turned into a number with `.item()`, compared, or rounded keeps its
first value for ever, and nothing is said. The rest of the model learns around it.

## How it is tested
Finite differences say that the output depends on a tensor, and backward says that its gradient is zero; or no path
leads from any output to a parameter that forward reads, in several training steps on several inputs, in train and in
eval mode, or the one that does ends in a backward that returns None; or every gradient of it is exactly zero there,
because of a `round` or `sign`, or of paths that cancel.
Tensors are followed through forward to the operation where the gradient ends. What forward itself updates (a
codebook) is left alone. It is a note where a stop is usual: in a loss, in train mode only, for an input, for a part
whose name says that it is a target or teacher. A loss, by its name, must not come out without any graph.

## How to fix it
Keep the value in the graph: the parameter itself instead of `.data`, `torch.where` or a sigmoid instead of a
comparison. Where the stop is meant, set `requires_grad=False` or waive the rule.

## How to reproduce it
    run().sum().backward()
    cut = [name for name, p in module.named_parameters() if p.requires_grad and p.grad is None]
    assert not cut, f"no gradient reaches {cut}"
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.observations import findings, gradient_reports, is_cut_off, places
from layersmith.probe import closeness, reading, source, tree
from layersmith.probe.flow import flow, is_moved_by
from layersmith.probe.lost import MEANT
from layersmith.probe.tracing import Lost, refused, traced
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

ROUNDS = 8  # with other inputs each, trained between: what is zero-initialised deserves a chance
LOSS = re.compile(r"loss|criterion", re.IGNORECASE)
STOPS = {".detach()", "no_grad"}  # what authors write to stop a gradient
FIX = (
    "keep the value in the graph; where the gradient is stopped on purpose, set requires_grad=False or waive"
)


@rule(
    severity=Severity.WARNING,
    since="0.1",
    promise=Promise.EVERY_PARAMETER_LEARNS,
    after=("forward-raises", "input-modified", "unused-parameter"),
)
def no_gradient(case: Case) -> Iterator[Finding]:
    """What differences contradict, then what no run reaches."""
    reports = case.once(gradient_reports)
    told = {
        error.tensor for error in reports.errors("frozen")
    }  # a gradient that is there when others ask for one
    for same in places(error for error in reports.errors("derivative") if is_cut_off(error)):
        told |= {error.tensor for error in same}
        are_inputs = all(error.tensor.startswith("input[") for error in same)
        is_meant = same[0].function in STOPS and (reports.is_usual or are_inputs)
        yield from findings(same, fix=FIX, severity=Severity.NOTE if is_meant else None)
    if LOSS.search(type(case.module).__name__) and _is_without_graph(case):
        yield _of_loss(case)
    if case.subject.contract.gradient == "true":
        yield from _unreached(case, told)


def _unreached(case: Case, told: set[str]) -> Iterator[Finding]:
    fresh = case.fresh(training=True)
    told |= {name for name, _ in case.module.named_parameters() if source.is_in_stand_in(case.module, name)}
    found = flow(fresh.module, fresh.inputs, seed=case.seed, rounds=ROUNDS)
    without, zero = found.without_path - found.changed - told, found.always_zero - found.changed - told
    if not without | zero:
        return
    fresh = case.fresh(training=True)
    seen = traced(fresh.module, fresh.inputs, without | zero, seed=case.seed)
    lost = {name: place for name, place in seen.cut.items() if name in without}
    if not found.reached:  # it runs under no_grad as a whole, on purpose
        lost = {name: place for name, place in lost.items() if place.operation != "no_grad"}
    # Where what is exactly zero is cut, another path leads past it and cancels, as of `x + (q - x)`.
    ends = seen.cut | seen.flat
    lost |= {name: place for name, place in ends.items() if name in zero and _matters(case, name)}
    fresh = case.fresh(training=True)
    ends = refused(fresh.module, fresh.inputs, without - lost.keys(), seed=case.seed)
    lost |= {name: place for name, place in ends.items() if _matters(case, name)}
    for place in dict.fromkeys(lost.values()):
        yield of_unreached([name for name, where in lost.items() if where == place], place)


def _is_without_graph(case: Case) -> bool:
    """Whether every output is a number that depends on a floating input, and that no gradient can leave."""
    floats = case.inputs.map(lambda t: t.clone().requires_grad_() if t.is_floating_point() else t)
    try:
        with torch.enable_grad():
            before = [*tree.tensors(case.fresh(training=True).run(floats))]
    except RuntimeError:  # a target that may ask for no gradient, an index that may not be a leaf
        return False
    if not before or any(one.ndim or one.requires_grad for one in before):
        return False
    moved = case.inputs.map(lambda t: t + t.flip(0) / 2 if t.is_floating_point() else t)
    after = [*tree.tensors(case.fresh(training=True).run(moved))]
    return any(closeness.gap(one, other).is_open for one, other in zip(before, after, strict=False))


def _of_loss(case: Case) -> Finding:
    file, line = reading.line_matching(
        case.module, r"torch\.(?:as_)?tensor\(|\.item\(|\.detach\(|\.data\b|no_grad"
    )
    return Finding("the loss has no graph: no gradient reaches what it is of", file=file, line=line, fix=FIX)


def _matters(case: Case, name: str) -> bool:
    fresh = case.fresh()
    return is_moved_by(fresh.run, fresh.module.get_parameter(name))


def of_unreached(names: list[str], place: Lost) -> Finding:
    """What is said of parameters that a place cuts off."""
    named = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")  # noqa: PLR2004
    return Finding(
        f"{named} {'gets' if len(names) == 1 else 'get'} no gradient: it ends at `{place.operation}`",
        where=names[0],
        file=place.file,
        line=place.line,
        fix=FIX,
        severity=Severity.NOTE if place.operation in STOPS and all(map(MEANT.search, names)) else None,
    )


@no_gradient.bad("the loss has no graph", inputs=lambda: (torch.randn(4, 6), torch.randn(4, 6)))
class LossOfNumbers(nn.Module):
    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        losses = [(one - other).square().mean() for one, other in zip(x, target, strict=True)]
        return torch.tensor(losses).mean()


class _Steps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor) -> Tensor:
        return (x / step).round() * step

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


@no_gradient.bad("step gets no gradient: it ends at `_Steps.backward(), which returns None for it`")
class LearnsNoStep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.step = nn.Parameter(torch.tensor(0.1))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = _Steps.apply(x, self.step)
        return out


@no_gradient.bad("d loss/d scale is zero")
class DetachesItsScale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(6))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale.data


@no_gradient.bad("threshold gets no gradient: it ends at `")
class ComparesWithItsThreshold(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.zeros(6))

    def forward(self, x: Tensor) -> Tensor:
        return x * (x > self.threshold)


@no_gradient.bad("steps gets no gradient: it ends at `round`")
class RoundsItsWeight(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.steps = nn.Parameter(torch.linspace(-3.2, 3.3, 6))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.steps.round()


@no_gradient.bad("codes.bias, codes.weight get no gradient: it ends at `gt`")
class AddsTheErrorAttached(nn.Module):
    """Straight through without the `.detach()`: the two paths cancel."""

    def __init__(self) -> None:
        super().__init__()
        self.codes = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.codes(x)
        return x + (torch.where(x > 0, 1.0, -1.0) - x)


@no_gradient.good
class GatesSoftly(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.zeros(6))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(4 * (x - self.threshold))


@no_gradient.good
class ZeroInitialised(nn.Module):
    """The branch gets no gradient until its last layer has moved."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.last = nn.Linear(6, 6), nn.Linear(6, 6)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.last(self.inner(x).relu())


@no_gradient.good(inputs=lambda: (torch.randn(4, 6), torch.randn(4, 6).sign()))
class RefusesGradientsOfItsTarget(nn.Module):
    def forward(self, scores: Tensor, target: Tensor) -> Tensor:
        return nn.functional.soft_margin_loss(scores, target)
