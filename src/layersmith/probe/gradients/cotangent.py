"""Backward from given outputs with exactly the given cotangent: its strides, its holes and all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

Cotangent = Sequence[Tensor | None]


class _Pairing(torch.autograd.Function):
    """<u, outputs> as a number that is never computed, whose backward hands u on as it is.

    `torch.autograd.grad(..., grad_outputs=u)` would do, but imports SymPy to compare shapes: half a second.
    """

    @staticmethod
    def forward(ctx: Any, along: Cotangent, *outputs: Tensor) -> Tensor:
        ctx.along = along
        return outputs[0].new_zeros((), dtype=torch.float64)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:
        return None, *ctx.along


def pull_back(
    outputs: Sequence[Tensor],
    along: Cotangent,
    tensors: Sequence[Tensor],
    *,
    keep: bool = False,
    create_graph: bool = False,
) -> list[Tensor | None]:
    """J^T u for every tensor; None where autograd says that there is no gradient.

    Args:
        outputs: tensors that carry a gradient.
        along: u; None for an output whose gradient is to be undefined.
        tensors: leaves.
        keep: keep the graph for another pass.
        create_graph: make the result differentiable in turn.
    """
    number = _pair(outputs, along, exact=create_graph)
    try:
        found = torch.autograd.grad(
            number, tensors, allow_unused=True, retain_graph=keep or create_graph, create_graph=create_graph
        )
    except RuntimeError as error:
        if "use_reentrant=True" not in str(error) or create_graph:
            raise
        return _accumulated(number, tensors, keep=keep)
    return list(found)


def _pair(outputs: Sequence[Tensor], along: Cotangent, *, exact: bool) -> Tensor:
    """A number whose gradient with respect to the outputs is u.

    Only a Function sees the very tensor that u is; torch's own backwards may as well get a copy, by a product
    that costs a quarter of what a Function does.
    """
    if len(outputs) == 1 and not exact:
        (out,), (u,) = outputs, along
        torchs_own = not hasattr(out.grad_fn, "_forward_cls") and not out.is_complex()
        if torchs_own and u is not None and u.is_contiguous():
            return torch.dot(out.reshape(-1), u.reshape(-1))
    number: Tensor = _Pairing.apply(along, *outputs)  # type: ignore[no-untyped-call]
    return number


def _accumulated(number: Tensor, tensors: Sequence[Tensor], *, keep: bool) -> list[Tensor | None]:
    """Re-entrant checkpoints refuse `autograd.grad`."""
    torch.autograd.backward(number, retain_graph=keep)
    found = [tensor.grad for tensor in tensors]
    for tensor in tensors:
        tensor.grad = None
    return found
