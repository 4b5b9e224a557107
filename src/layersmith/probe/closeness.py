"""Every tolerance of Layersmith, and the one way to compare two values."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from layersmith.probe import tree

# Relative to the largest magnitude of what is compared. A few hundred roundings of the dtype: reordered
# sums of ordinary layers stay below, a wrong term of any size that matters stays above.
RELATIVE = {
    torch.float64: 1e-10,
    torch.float32: 1e-4,
    torch.float16: 2e-2,
    torch.bfloat16: 1e-1,
    torch.complex64: 1e-4,
    torch.complex128: 1e-10,
}

# Initialisation: sound gains of common activations multiply by at most 1.9, and at most 2.5 remains after it.
SIGNAL_GROWTH = 2.5
# A tanh is within 1e-3 of its limit beyond 3.8, a sigmoid at 4 within 2 %: such a unit hardly learns.
SIGNAL_SATURATION = 4.0


@dataclass(frozen=True, slots=True)
class Gap:
    """How far two tensors are apart at their worst element, and how far they may be."""

    where: str
    max_abs: float
    limit: float

    @property
    def is_open(self) -> bool:
        """Whether the two differ by more than rounding; a NaN on one side only always does."""
        return not self.max_abs <= self.limit


def gap(left: Tensor, right: Tensor, *, where: str = "") -> Gap:
    """The largest difference of two tensors of one shape, beside the rounding that its dtype explains."""
    if left.shape != right.shape or left.dtype != right.dtype:
        return Gap(where, float("inf"), 0.0)
    if left.numel() == 0:
        return Gap(where, 0.0, 0.0)
    if not tree.is_differentiable(left):
        return Gap(where, float((left != right).sum()), 0.0)
    wide = torch.complex128 if left.is_complex() else torch.float64
    a, b = left.detach().to(wide), right.detach().to(wide)
    same = (a == b) | (a.isnan() & b.isnan())  # equal infinities and NaNs are equal
    difference = torch.where(same, 0.0, (a - b).abs())
    finite = a.abs()[a.isfinite()]
    scale = float(finite.max()) if finite.numel() else 0.0
    return Gap(where, float(difference.max()), RELATIVE.get(left.dtype, 0.0) * scale)


def gaps(left: object, right: object, *, name: str = "output") -> list[Gap]:
    """Every open gap between two nested values; one of infinite size where their structures differ."""
    a, b = dict(tree.named_tensors(left, name=name)), dict(tree.named_tensors(right, name=name))
    if a.keys() != b.keys():
        return [Gap(name, float("inf"), 0.0)]
    found = (gap(a[path], b[path], where=path) for path in a)
    return [one for one in found if one.is_open]
