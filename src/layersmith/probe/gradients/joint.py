"""The joint probe: all tensors are moved at once, and one slope is compared with what backward says.

The directional derivative of <u, outputs> along v is <J^T u, v> by backward and a central difference by two
forwards. The blocks of v are balanced so that each tensor contributes equally, which is what lets one number
witness for all of them. It costs one forward, one backward and two forwards, however many tensors there are.
"""

from __future__ import annotations

import enum
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from layersmith.probe import closeness
from layersmith.probe.gradients.directions import normal_like
from layersmith.probe.gradients.line import Line, walking
from layersmith.probe.gradients.projection import Projection, dot, norms
from layersmith.probe.gradients.specimen import Specimen

_LADDER = (1 / 8, 8.0, 1 / 64, 64.0)  # steps tried in doubt: kinks ask for short ones, rounding for long ones
_WEIGHT_LIMIT = 1e3  # a tensor whose gradient is all but zero is not moved further than this


class Verdict(enum.StrEnum):
    """What one comparison of two slopes says."""

    RIGHT = "right"
    WRONG = "wrong"
    UNCLEAR = "unclear"  # the differences do not settle: nothing can be said


@dataclass(frozen=True, slots=True)
class Reading:
    """One comparison: the slope by backward, by differences, and by how much they may differ."""

    verdict: Verdict
    got: float
    expected: float
    tolerance: float
    scale: float  # root mean square of <J^T u, v> over random v

    @property
    def miss(self) -> float:
        """How far the two slopes are apart."""
        return abs(self.got - self.expected)

    @property
    def is_coarse(self) -> bool:
        """Whether rounding in the module allowed no more than a coarse comparison."""
        return self.tolerance > closeness.RELATIVE[torch.float32] * self.scale > 0


@dataclass(frozen=True, slots=True)
class Precision:
    """In which arithmetic the module computes, as far as differences can feel it."""

    dtype: torch.dtype

    @property
    def step(self) -> float:
        """The step that balances truncation and rounding."""
        return closeness.GRADIENT_STEP[self.dtype]

    @property
    def relative(self) -> float:
        """By how much two right slopes may differ, relative to their natural scale."""
        return closeness.GRADIENT[self.dtype]

    @property
    def rounding(self) -> float:
        """The spacing of numbers at 1."""
        return torch.finfo(self.dtype).eps


def compare(
    specimen: Specimen,
    projection: Projection,
    gradients: Sequence[Tensor | None],
    direction: Sequence[Tensor | None],
    precision: Precision,
    *,
    refined: bool = False,
) -> Reading:
    """Compare <gradients, direction> with finite differences along the direction."""
    got = dot(gradients, direction)
    scale = _scale(gradients, direction)
    with walking(specimen, projection, direction) as line:
        step = precision.step * (4 if refined else 1)
        expected = line.refined(step) if refined else line.slope(step)
        tolerance = _tolerance(precision, scale, projection.size * precision.rounding, step)
        if abs(got - expected) <= tolerance:
            return Reading(Verdict.RIGHT, got, expected, tolerance, scale)
        return _in_doubt(line, precision, got, scale)


def balanced(
    specimen: Specimen, gradients: Sequence[Tensor | None], *, seed: int, only: Sequence[int] | None = None
) -> list[Tensor | None]:
    """A random direction in which every tensor contributes about equally to the slope, of norm about one.

    Args:
        specimen: gives the shapes.
        gradients: what backward said: their norms balance the blocks.
        seed: of the random numbers.
        only: positions of the leaves to move; all of them when None.
    """
    chosen = range(len(specimen.leaves)) if only is None else only
    sizes = [specimen.leaves[i].tensor.numel() for i in chosen]
    steep = [
        size / math.sqrt(n) for size, n in zip(norms([gradients[i] for i in chosen]), sizes, strict=True)
    ]
    steep = [one if math.isfinite(one) else 0.0 for one in steep]
    top = max(steep, default=0.0) or 1.0
    weights = [min(top / one, _WEIGHT_LIMIT) if one > 0 else 1.0 for one in steep]
    mean = math.sqrt(sum(w * w for w in weights) / len(weights))
    blocks = [normal_like(specimen.leaves[i].tensor, seed + 7 * i) for i in chosen]
    lengths = [w / mean / math.sqrt(n) for w, n in zip(weights, sizes, strict=True)]
    torch._foreach_mul_(blocks, lengths)
    for i, block in zip(chosen, blocks, strict=True):
        specimen.leaves[i].hold(block)
    found = dict(zip(chosen, blocks, strict=True))
    return [found.get(i) for i in range(len(specimen.leaves))]


def _in_doubt(line: Line, precision: Precision, got: float, scale: float) -> Reading:
    """The slopes differ at the first step: is it the backward, a kink near by, curvature or rounding?"""
    step = precision.step
    noise = max(line.noise(step / 1024), line.projection.size * precision.rounding)
    noise = noise if math.isfinite(noise) else line.projection.size * precision.rounding
    first = abs(got - line.slope(step))
    slopes = {step: line.slope(step)}
    for factor in _LADDER:
        slopes[factor * step] = expected = line.slope(factor * step)
        tolerance = _tolerance(precision, scale, noise, factor * step)
        fine_enough = tolerance <= first / closeness.GRADIENT_DOUBT
        if abs(got - expected) <= tolerance and fine_enough:
            return Reading(Verdict.RIGHT, got, expected, tolerance, scale)
    return _settled(slopes, got, scale, _tolerance(precision, scale, noise, step))


def _settled(slopes: dict[float, float], got: float, scale: float, tolerance: float) -> Reading:
    """Wrong where two steps agree with each other far better than with backward; unclear where none do."""
    steps = sorted(slopes)
    pairs = [(slopes[a], slopes[b]) for a, b in itertools.pairwise(steps)]
    apart, expected = min(
        ((abs(a - b), a) for a, b in pairs if math.isfinite(a + b)), default=(math.inf, math.nan)
    )
    miss = abs(got - expected)
    doubt = closeness.GRADIENT_DOUBT
    if not math.isfinite(got) and math.isfinite(expected):
        return Reading(Verdict.WRONG, got, expected, tolerance, scale)
    is_wrong = miss > doubt * apart and miss > tolerance
    if (
        not is_wrong
        and miss <= max(tolerance, doubt * apart)
        and apart <= closeness.RELATIVE[torch.float32] * scale
    ):
        return Reading(Verdict.RIGHT, got, expected, max(tolerance, doubt * apart), scale)
    return Reading(Verdict.WRONG if is_wrong else Verdict.UNCLEAR, got, expected, tolerance, scale)


def _tolerance(precision: Precision, scale: float, noise: float, step: float) -> float:
    return max(precision.relative * scale, closeness.GRADIENT_ROUNDINGS * noise / step)


def _scale(gradients: Sequence[Tensor | None], direction: Sequence[Tensor | None]) -> float:
    pairs = [(g, v) for g, v in zip(gradients, direction, strict=True) if g is not None and v is not None]
    steep, long = norms([g for g, _ in pairs]), norms([v for _, v in pairs])
    return math.hypot(
        *(a * b / math.sqrt(g.numel()) for a, b, (g, _) in zip(steep, long, pairs, strict=True))
    )
