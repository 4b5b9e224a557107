"""Every tolerance of Layersmith, and the one way to compare two values."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from layersmith.probe import tree

# Relative to the largest magnitude of what is compared. A few hundred roundings of the dtype: reordered
# sums of ordinary layers stay below, a wrong term of any size that matters stays above. What is float64 may have been
# computed in float32 before: a `.double()` at the end of a forward, a table that was made in float32.
RELATIVE = {
    torch.float64: 1e-4,
    torch.float32: 1e-4,
    torch.float16: 2e-2,
    torch.bfloat16: 1e-1,
    torch.complex64: 1e-4,
    torch.complex128: 1e-4,
}

# A slope by finite differences against one by backward, relative to the natural size of their random sum: a
# central difference at the step below is right to about 1e-10 in float64 where a layer's curvature is ordinary.
# Not finer than a float32 constant in a backward, which torch itself has (hardsigmoid's 1/6 is 3e-8 off).
GRADIENT = {torch.float64: 5e-8, torch.float32: 3e-3}
GRADIENT_STEP = {torch.float64: 1e-5, torch.float32: 5e-3}  # near the cube root of the dtype's rounding
# Rounding of a slope: so many times the noise of the projected output, over the step.
GRADIENT_ROUNDINGS = 20.0
# A miss counts when it is so many times what the differences at two steps disagree by; and a later agreement
# counts when its tolerance is so many times finer than the miss that it takes back.
GRADIENT_DOUBT = 10.0
# Moves the point off kinks and ties (a ReLU at 0, a tie in a maximum) and off zero-initialised scales.
GRADIENT_JITTER = 1e-2
# Gradients of one tensor computed twice in one dtype (another layout, other leaves): relative to their norm.
GRADIENT_TWICE = {torch.float64: 1e-9, torch.float32: 1e-3}
# Gradients in float32 against float64, relative to their norm, where the forward itself is well conditioned.
GRADIENT_FLOAT32 = 3e-4

# Of an integral: a panel of the quadrature is cut until that changes it by less.
INTEGRAL = 1e-10
# Of a second moment: what may lie at the ends of the integral's range, or what an activation may have of an
# even, an odd or a curved part, and count as having none.
NEGLIGIBLE = 1e-6

# Of a factor a layer, such as chi: as near to 1 as this it changes nothing in any depth that is built.
CRITICAL = 1e-6

# An answer below this is an ordinary number: an output that is not finite beside it has overflowed on its way.
ORDINARY = 1e30

# Of a parameter's own size: enough to be seen, too little to change what an argmax chooses.
NUDGE = 1e-2
# An answer below this fits float16, which ends at 65504, with room for its rounding.
FITS_HALF = 6e4

# What a norm leaves of a single number: nothing, but for rounding.
NOTHING = 1e-4

# A bfloat16 answer against float64: so many times what one rounding of inputs and weights moves it, and this
# share of its size. Ordinary networks of a dozen layers stay at a few times and a few hundredths.
DRIFT_ROUNDINGS = 20.0
DRIFT_SHARE = 0.1
# An output no larger is what is left of a difference of equal numbers: rounding, in any precision.
DRIFT_LEAST = 1e-6

# Of a parameter's own size plus one: opens a gate that starts at zero so far that what is behind it is seen.
GATE = 0.1
# Relative to the norm of an input: how near a point is at which a stretch is measured; and what rounding may make of it.
NEAR = 1e-2
STRETCH = 1e-3
# Of the usual inputs: a softmax over 32 features of such a size is far from one-hot.
UNSATURATED = 0.1
# Initialisation: sound gains of common activations multiply by at most 1.9, and at most 2.5 remains after it.
SIGNAL_GROWTH = 2.5
# A tanh is within 1e-3 of its limit beyond 3.8, a sigmoid at 4 within 2 %: such a unit hardly learns.
SIGNAL_SATURATION = 4.0
# What a table of a few hundred numbers drawn from N(0, 1) may have for a spread.
DEFAULT_SPREAD = 0.2

# Slices of a parameter nearer than this share of their size are copies: sums in another order differ by less.
ALIKE = 1e-5
# Where a sigmoid's slope is 1 % of its steepest, and where a tanh's is.
FLAT_SIGMOID, FLAT_TANH = 6.0, 3.0
# A distribution whose largest probability is as near to 1 lets hardly any gradient through.
NEARLY_ONE_HOT = 0.01
# A probability below is one that underflows, not one that a sparse choice left above zero.
NEARLY_ZERO = 1e-6
# A layer is dead, or saturated, from these shares of its values on, whatever the input.
DEAD, SATURATED_AT_INIT = 0.995, 0.9
# A weight that multiplies its signal by less loses it: torch's own default multiplies by 0.58.
SIGNAL_LOSS = 0.25
# What remains of the differences between inputs: after one such weight, after two, or whatever the weights are.
REMAINS, REMAINS_OF_TWO, REMAINS_AT_ALL = 1e-3, 1e-2, 1e-5
# Probability, and multiple of the loss of guessing, from which on a classifier starts overconfident.
OVERCONFIDENT, COSTLY = 0.95, 4.0

# An activation is flat where its slope is below this share of the steepest.
SATURATED = 0.05

# Two measured shares nearer than so many standard errors of their difference are not told apart (95 %).
STANDARD_ERRORS = 2.0


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

    @property
    def extent(self) -> str:
        """How far, in words that follow `differs`."""
        is_number = self.max_abs != float("inf") or self.limit
        return f"by {self.max_abs:.2g}, limit {self.limit:.2g}" if is_number else "in shape or dtype"


# Root mean squares of two outputs of one norm: an epsilon or a share of the features explains no factor of two.
NORM_RATIO = 2.0


def gap(left: Tensor, right: Tensor, *, where: str = "") -> Gap:
    """The largest difference of two tensors of one shape, beside the rounding that its dtype explains."""
    if left.shape != right.shape or left.dtype != right.dtype:
        return Gap(where, float("inf"), 0.0)
    if left.numel() == 0 or torch.equal(left, right):
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


def common(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Both as far as both go, where they have as many axes: a row is padded to the longest of its batch."""
    if left.ndim != right.ndim:
        return left, right
    ends = tuple(slice(min(pair)) for pair in zip(left.shape, right.shape, strict=True))
    return left[ends], right[ends]


def is_lost(narrow: Tensor, wide: Tensor) -> bool:
    """Whether some number is ordinary in float64 and none in float32."""
    is_ordinary = wide.abs() < ORDINARY
    return narrow.shape == wide.shape and bool((is_ordinary & ~narrow.isfinite()).any())


def rms(tensor: Tensor) -> float:
    """The root of the mean square of its numbers; 0 where it has none."""
    return float(tensor.detach().double().square().mean().sqrt()) if tensor.numel() else 0.0


def gaps(left: object, right: object, *, name: str = "output") -> list[Gap]:
    """Every open gap between two nested values; one of infinite size where their structures differ."""
    a, b = dict(tree.named_tensors(left, name=name)), dict(tree.named_tensors(right, name=name))
    if a.keys() != b.keys():
        return [Gap(name, float("inf"), 0.0)]
    found = (gap(a[path], b[path], where=path) for path in a)
    return [one for one in found if one.is_open]
