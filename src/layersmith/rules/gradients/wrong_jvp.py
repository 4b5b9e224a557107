"""A `jvp` written by hand must agree with backward.

## Why it matters
`torch.func.jvp`, `hessian` and `jacfwd` use it. It is written apart from backward, is used seldom, and raises nothing
when it is wrong.

## How it is tested
Where an `autograd.Function` defines a `jvp`: the slope along one random direction in forward mode against what
backward gives, which finite differences have confirmed.

## How to fix it
`jvp` gets the tangents of forward's inputs in their order and returns those of its outputs: the same derivative that
backward uses, not transposed. Without it forward mode refuses the Function, which is better than a wrong one.

## How to reproduce it
    from torch.func import functional_call
    weights = dict(module.double().named_parameters())
    leaves = [t.detach().double().requires_grad_() for t in (*args, *weights.values())]
    call = lambda *t: functional_call(module, dict(zip(weights, t[len(args) :])), t[: len(args)])
    torch.autograd.gradcheck(call, leaves, check_forward_ad=True, check_backward_ad=False)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.observations import findings, gradient_reports, require_asked
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case


@rule(
    severity=Severity.ERROR,
    since="0.1",
    promise=Promise.TRUE_GRADIENT,
    after=("wrong-gradient", "no-gradient"),
)
def wrong_jvp(case: Case) -> Iterator[Finding]:
    """Report the tensors along which forward mode differs from backward."""
    reports = case.once(gradient_reports)
    yield from findings(reports.errors("jvp"), fix="correct the Function's jvp, or delete it")
    require_asked(reports, "jvp")


class _Product(torch.autograd.Function):
    """Takes the first term of the product rule twice."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor) -> Tensor:
        return x * weight

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        return gradient * weight, (gradient * x).sum(0)

    @staticmethod
    def jvp(ctx: Any, x_t: Tensor, weight_t: Tensor) -> Tensor:
        _, weight = ctx.saved_tensors
        return x_t * weight + x_t * weight_t


@wrong_jvp.bad("the jvp along")
class MultipliesWrongly(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.5, 1.5, 6))

    def forward(self, x: Tensor) -> Tensor:
        return _Product.apply(x, self.weight)


class _Square(torch.autograd.Function):
    """Forgets its factor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 2 * ctx.saved_tensors[0] * gradient

    @staticmethod
    def jvp(ctx: Any, x_t: Tensor) -> Tensor:
        return ctx.saved_tensors[0] * x_t


@wrong_jvp.bad("the jvp along input[0] is 0.5x")
class SquaresByHalf(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _Square.apply(x)


class _RightSquare(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 2 * ctx.saved_tensors[0] * gradient

    @staticmethod
    def jvp(ctx: Any, x_t: Tensor) -> Tensor:
        return 2 * ctx.saved_tensors[0] * x_t


@wrong_jvp.good
class Squares(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _RightSquare.apply(x)
