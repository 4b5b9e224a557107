"""A gradient must not depend on how the tensors lie in memory.

## Why it matters
`loss.sum().backward()` hands backward a gradient that is expanded: one number in memory, seen everywhere. A transpose
after the layer hands it one that is not contiguous. A backward that goes through memory (`.data_ptr()`, `.view(-1)`,
a kernel, `torch.empty_like` and strides) then computes something else, or raises.

## How it is tested
Where an `autograd.Function` takes part (with `--gradients full`: always), backward gets the same gradient contiguous,
scattered and expanded, and forward gets the same inputs scattered; all must give the same gradients. Matrices come by two
as well, where forward takes them so.

## How to fix it
Begin backward with `gradient = gradient.contiguous()`, or use operations that respect strides (`reshape`, `*`, `@`).

## How to reproduce it
    leaf = args[0].clone().requires_grad_()
    output = run(leaf, *args[1:])
    u = torch.randn_like(output)
    strided = u.mT.contiguous().mT if u.dim() > 1 else u.repeat_interleave(2)[::2]
    one, other = (torch.autograd.grad(output, leaf, g, retain_graph=True)[0] for g in (u, strided))
    assert torch.allclose(one, other), "the same grad_output with other strides gives another gradient"
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.observations import findings, gradient_reports, require_asked, stacked_report
from layersmith.probe.gradients import WrongGradient, question_of
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case


@rule(
    severity=Severity.ERROR, since="0.1", promise=Promise.ANY_LAYOUT, after=("wrong-gradient", "no-gradient")
)
def layout_dependent_gradient(case: Case) -> Iterator[Finding]:
    """Report the tensors whose gradient depends on strides."""
    reports = case.once(gradient_reports)
    errors: Sequence[WrongGradient] = reports.errors("layout")
    if not errors and reports.legs("layout") and (stacked := stacked_report(case)) is not None:
        errors = [error for error in stacked.errors if question_of(error.leg) == "layout"]
    yield from findings(errors, fix="make what backward gets contiguous first: `gradient.contiguous()`")
    require_asked(reports, "layout")


class _ReadsMemory(torch.autograd.Function):
    """Takes the numbers in the order in which they lie in memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 3 * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        size = gradient.untyped_storage().nbytes() // gradient.element_size()
        flat = gradient.as_strided((size,), (1,))
        return 3 * (
            flat.view(gradient.shape) if size == gradient.numel() else flat.sum().expand(gradient.shape)
        )


@layout_dependent_gradient.bad("d loss/d input[0]")
class ScalesMemory(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _ReadsMemory.apply(x)


class _Flattens(torch.autograd.Function):
    """`view` refuses what is not contiguous."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x * weight

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        flat = gradient.view(-1)
        rows = flat.view(-1, weight.numel())
        return (rows * weight).view(x.shape), (rows * x.reshape(rows.shape)).sum(0)


@layout_dependent_gradient.bad("for a non-contiguous or expanded grad_output")
class ViewsTheGradient(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.5, 1.5, 6))

    def forward(self, x: Tensor) -> Tensor:
        return _Flattens.apply(x, self.weight)


class _Halves(torch.autograd.Function):
    """Of two axes this view is possible, of three it is not."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        left, right = x.chunk(2, dim=-1)
        return torch.cat([left + right, left - right], dim=-1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        first, second = gradient.view(-1, 2, gradient.shape[-1] // 2).unbind(1)
        return torch.cat([first + second, first - second], dim=-1).reshape(gradient.shape)


@layout_dependent_gradient.bad("for a non-contiguous or expanded grad_output")
class ViewsHalvesOfTheGradient(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _Halves.apply(x)


class _Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 3 * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return (3 * gradient.contiguous().view(-1)).view(gradient.shape)


@layout_dependent_gradient.good
class MakesItContiguous(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _Scaled.apply(x)
