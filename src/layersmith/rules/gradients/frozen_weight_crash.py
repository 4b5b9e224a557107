"""Freezing some tensors must not change the gradients of the others.

## Why it matters
Fine-tuning freezes weights; the first layer's input never asks for a gradient. A backward that counts on all of them
raises then, or hands each tensor the gradient of its neighbour. Re-entrant checkpoints give no gradient at all
when no input asks for one.

## How it is tested
On a float64 copy, the gradients are computed with everything asking for one, with all weights frozen, with all inputs
frozen, and (where an `autograd.Function` takes part) with each weight frozen alone. What still asks must get what it
got.

## How to fix it
In backward, return `None` in the place of what is not needed (`ctx.needs_input_grad`), and save what the rest needs
in any case. Use `checkpoint(..., use_reentrant=False)`. Register hooks only where `tensor.requires_grad`.

## How to reproduce it
    parameters = [*module.parameters()]
    def gradients(*leaves):
        return torch.autograd.grad(run(*leaves).square().sum(), parameters)
    asked = gradients(*(x.clone().requires_grad_() for x in args))
    frozen = gradients(*args)
    assert all(torch.allclose(a, b) for a, b in zip(asked, frozen)), "freezing inputs changes other gradients"
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from layersmith.finding import Finding, Severity
from layersmith.observations import findings, gradient_reports, require_asked
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case


@rule(
    severity=Severity.ERROR,
    since="0.1",
    promise=Promise.TRUE_GRADIENT,
)
def frozen_weight_crash(case: Case) -> Iterator[Finding]:
    """Report the tensors whose gradient depends on which others ask for one."""
    reports = case.once(gradient_reports)
    yield from findings(
        reports.errors("frozen"),
        fix="let what is returned, saved and hooked follow `ctx.needs_input_grad` or `requires_grad`",
    )
    require_asked(reports, "frozen")


class _Product(torch.autograd.Function):
    """Saves the input only when the input asks for a gradient; but the weight needs it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x if ctx.needs_input_grad[0] else torch.zeros_like(x), weight)
        return x @ weight

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        return gradient @ weight.T, x.T @ gradient


@frozen_weight_crash.bad("with inputs frozen, d loss/d weight")
class SavesTooLittle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(6))

    def forward(self, x: Tensor) -> Tensor:
        return _Product.apply(x, self.weight)


@frozen_weight_crash.bad("with inputs frozen")
class ChecksPointsReentrantly(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.scale = nn.Parameter(torch.ones(6))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * checkpoint(self.linear, x, use_reentrant=True)


@frozen_weight_crash.bad("with weights frozen, forward raises")
class HooksItsWeight(nn.Module):
    """What backward hands on is not the derivative, on purpose."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(6))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.view_as(self.weight)
        if self.training:
            weight.register_hook(lambda gradient: gradient / 10)
        return x @ weight


@frozen_weight_crash.good
class SkipsWhatIsNotNeeded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(6))

    def forward(self, x: Tensor) -> Tensor:
        return _Needed.apply(x, self.weight)


class _Needed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x @ weight

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        for_x = gradient @ weight.T if ctx.needs_input_grad[0] else None
        return for_x, x.T @ gradient if ctx.needs_input_grad[1] else None


@frozen_weight_crash.good
class ChecksPoints(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.linear, x, use_reentrant=False)
