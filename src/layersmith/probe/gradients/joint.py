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
from layersmith.probe.gradients.directions import normal_views
from layersmith.probe.gradients.line import Line, walking
from layersmith.probe.gradients.projection import Projection, dot
from layersmith.probe.gradients.report import Leg
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

    @property
    def is_plain(self) -> bool:
        """Whether the two slopes agree, and finely."""
        return self.verdict is Verdict.RIGHT and not self.is_coarse


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


@dataclass(frozen=True, slots=True)
class Direction:
    """Random blocks, one for each leaf that moves, and the natural size of the slope along them."""

    blocks: list[Tensor | None]
    scale: float


def reading_leg(name: str, reading: Reading) -> Leg:
    """A reading as a leg of the report."""
    scale = reading.scale or 1.0
    why = "finite differences do not settle" if reading.verdict is Verdict.UNCLEAR else ""
    return Leg(name, str(reading.verdict), why, reading.miss / scale, reading.tolerance / scale)


def compare(
    specimen: Specimen,
    projection: Projection,
    gradients: Sequence[Tensor | None],
    direction: Direction,
    precision: Precision,
    *,
    refined: bool = False,
    last: bool = False,
) -> Reading:
    """Compare <gradients, direction> with finite differences along the direction.

    If it is the last time, and all is right, the leaves are left where that ends.
    """
    got = dot(gradients, direction.blocks)
    with walking(specimen, projection, direction.blocks) as line:
        reading = settle(line, precision, got, direction.scale, refined=refined)
        if last and reading.is_plain:
            line.stay()
        return reading


def settle(line: Line, precision: Precision, got: float, scale: float, *, refined: bool = False) -> Reading:
    """Compare a slope by backward with the differences along a line, as often as it takes to be sure."""
    slope, step = (line.refined, 4 * precision.step) if refined else (line.slope, precision.step)
    expected = slope(step)
    tolerance = _tolerance(precision, line, max(scale, abs(got)), line.size * precision.rounding, step)
    if abs(got - expected) <= tolerance:
        return Reading(Verdict.RIGHT, got, expected, tolerance, scale)
    return _in_doubt(line, precision, got, scale, refined=refined)


def balanced(
    specimen: Specimen, steep: Sequence[float], *, seed: int, only: Sequence[int] | None = None
) -> Direction:
    """A random direction in which every tensor contributes about equally to the slope, of norm about one.

    Args:
        specimen: gives the shapes.
        steep: the norm of each leaf's gradient.
        seed: of the random numbers.
        only: positions of the leaves to move; all of them when None.
    """
    leaves = specimen.leaves
    chosen = range(len(leaves)) if only is None else only
    roots = [math.sqrt(max(leaves[i].tensor.numel(), 1)) for i in chosen]
    slopes = [
        steep[i] / root if math.isfinite(steep[i]) else 0.0 for i, root in zip(chosen, roots, strict=True)
    ]
    top = max(slopes, default=0.0) or 1.0
    weights = [min(top / one, _WEIGHT_LIMIT) if one > 0 else 1.0 for one in slopes]
    mean = math.sqrt(sum(w * w for w in weights) / len(weights))
    lengths = [w / mean / root for w, root in zip(weights, roots, strict=True)]
    normal = normal_views([leaves[i].tensor for i in chosen], seed)
    moved = dict(zip(chosen, torch._foreach_mul(normal, lengths), strict=True))  # noqa: SLF001 - one kernel for all
    for i, block in moved.items():
        leaves[i].hold(block)
    scale = math.hypot(*(steep[i] * length for i, length in zip(chosen, lengths, strict=True)))
    return Direction([moved.get(i) for i in range(len(leaves))], scale)


def _in_doubt(line: Line, precision: Precision, got: float, scale: float, *, refined: bool) -> Reading:
    """The slopes differ at the first step: is it the backward, a kink near by, curvature or rounding?"""
    slope, step = (line.refined, 4 * precision.step) if refined else (line.slope, precision.step)
    slopes = {step: slope(step), step * _LADDER[0]: slope(step * _LADDER[0])}
    first, apart = abs(got - slopes[step]), abs(slopes[step] - slopes[step * _LADDER[0]])
    plain = _tolerance(
        precision, line, max(scale, abs(got)), line.size * precision.rounding, step * _LADDER[0]
    )
    if first > closeness.GRADIENT_DOUBT**2 * max(apart, plain):  # nothing else lets two steps agree so well
        return Reading(Verdict.WRONG, got, slopes[step], plain, scale)
    noise = max(line.noise(precision.step / 1024), line.size * precision.rounding)
    noise = noise if math.isfinite(noise) else line.size * precision.rounding
    for factor in _LADDER:
        slopes[factor * step] = expected = slope(factor * step)
        tolerance = _tolerance(precision, line, max(scale, abs(got)), noise, factor * step)
        fine_enough = tolerance <= first / closeness.GRADIENT_DOUBT
        if abs(got - expected) <= tolerance and fine_enough:
            return Reading(Verdict.RIGHT, got, expected, tolerance, scale)
    return _settled(slopes, got, scale, _tolerance(precision, line, max(scale, abs(got)), noise, step))


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


def _tolerance(precision: Precision, line: Line, size: float, noise: float, step: float) -> float:
    """The larger of what is asked, what rounding does to differences, and what it does to backward's own sums."""
    rounding = max(noise / step, precision.rounding * line.pull)
    return max(precision.relative * size, closeness.GRADIENT_ROUNDINGS * rounding)
