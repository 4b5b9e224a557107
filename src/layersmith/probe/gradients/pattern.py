"""Which elements of a gradient are wrong, and their pattern: one element, a row, a factor, a sign."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from layersmith.probe import closeness
from layersmith.probe.gradients.directions import signs_like
from layersmith.probe.gradients.line import walking, walking_one
from layersmith.probe.gradients.projection import dot
from layersmith.probe.gradients.report import Element
from layersmith.probe.gradients.station import Station

_SAMPLES = 8  # elements looked at one by one
_EXTREMES = 3  # and so many of the largest, and of the smallest
_WITNESSES = 4  # elements that must be right for a slice to be believed
_NEAR_INTEGER = 0.05


@dataclass(frozen=True, slots=True)
class Pattern:
    """What is wrong with one tensor's gradient, in words and in elements."""

    kind: str  # "element (3, 7)", "row 3", "whole tensor x1.01", "negative elements only", "some elements"
    phrase: (
        str  # how a sentence about it goes on: "is 1.01x what finite differences give, in all 4096 elements"
    )
    worst: tuple[Element, ...]
    index: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One element looked at: by backward, by differences, its own value."""

    element: Element
    value: float
    is_wrong: bool


def find_pattern(station: Station, position: int, *, is_cut: bool = False) -> Pattern:
    """Look for the pattern by syndromes first, then at single elements.

    A value that left the graph (`is_cut`) leaves no single element behind: nothing to search for.
    """
    tensor = station.specimen.leaves[position].tensor
    if is_cut and station.gradients[position] is None:
        return describe(look(station, position, _spread(range(tensor.numel()))[:_WITNESSES]), tensor)
    fixed = None if is_cut else _shared(station, position)
    if fixed is not None:
        return _in_slice(station, position, fixed)
    some = look(station, position, _spread(range(tensor.numel())))
    if is_cut and all(one.is_wrong for one in some):
        return describe(some, tensor)
    seen = [one.element.index for one in some]
    extremes = [one for one in _extremes(tensor) if _unravel(one, tensor) not in seen]
    return describe([*some, *look(station, position, extremes)], tensor)


def _shared(station: Station, position: int) -> dict[int, int] | None:
    """The coordinates that all wrong elements share, after a look at a few that do not have them."""
    tensor = station.specimen.leaves[position].tensor
    if tensor.numel() == 1 or tensor.is_complex():
        return None
    fixed = _fixed(station, position)
    if fixed is None:
        return None
    inside = set(_slice_of(tensor, fixed))
    others = [one for one in _spread(range(tensor.numel())) if one not in inside][:_WITNESSES]
    return None if any(one.is_wrong for one in look(station, position, others)) else fixed


def look(station: Station, position: int, flat: Sequence[int]) -> list[Sample]:
    """Compare single elements: two forwards each."""
    leaf = station.specimen.leaves[position]
    moving = [one for one in flat if not leaf.still or _unravel(one, leaf.tensor)[0] not in leaf.still]
    return [_sample(station, position, leaf.tensor, station.gradients[position], one) for one in moving]


def describe(samples: Sequence[Sample], tensor: Tensor, *, total: int | None = None) -> Pattern:
    """Say what the wrong elements have in common."""
    wrong = [one for one in samples if one.is_wrong]
    right = [one for one in samples if not one.is_wrong and one.element.got]
    worst = tuple(sorted((one.element for one in wrong), key=lambda e: -abs(e.got - e.expected))[:10])
    n = tensor.numel() if total is None else total
    everywhere = f"in all {n} elements" if n > 1 else "in its one element"
    if not wrong:
        return Pattern("some elements", "is not what finite differences give, in a few elements", worst)
    index = worst[0].index
    if right:
        return Pattern(*_condition(wrong, right, len(samples)), worst, index)
    if all(one.element.got == 0 for one in wrong):
        phrase = f"is zero, but finite differences are not, {everywhere}"
        return Pattern("detached: gradient is zero but finite differences are not", phrase, worst, index)
    if all(abs(e.element.expected) <= closeness.GRADIENT_FLOAT32 * abs(e.element.got) for e in wrong):
        phrase = f"is not zero, but finite differences are, {everywhere} (straight-through?)"
        return Pattern("not zero where finite differences are", phrase, worst, index)
    factor = _factor(wrong)
    if factor is not None:
        phrase = f"is {factor:.10g}x what finite differences give, {everywhere}{_hint(factor)}"
        return Pattern(f"whole tensor x{factor:.6g}", phrase, worst, index)
    return Pattern("whole tensor", f"is not what finite differences give, {everywhere}", worst, index)


def _factor(wrong: Sequence[Sample]) -> float | None:
    ratios = [one.element.ratio for one in wrong if math.isfinite(one.element.ratio)]
    if len(ratios) < max(1, len(wrong) // 2):
        return None
    middle = sorted(ratios)[len(ratios) // 2]
    off = sum(abs(one - middle) > closeness.GRADIENT_FLOAT32 * abs(middle) for one in ratios)
    return middle if off <= len(ratios) // 10 else None


def _hint(factor: float) -> str:
    if abs(factor + 1) < closeness.GRADIENT_FLOAT32:
        return " (its sign is flipped)"
    inverse = 1 / factor if factor else 0.0
    whole = round(inverse)
    is_mean = whole > 1 and abs(inverse - whole) < closeness.GRADIENT_FLOAT32 * whole
    return f" (1/{whole}: a mean where a sum belongs?)" if is_mean else ""


def _condition(wrong: Sequence[Sample], right: Sequence[Sample], looked: int) -> tuple[str, str]:
    """What tells the wrong elements from the right ones: their sign, their size, or nothing we know."""
    bad, good = [one.value for one in wrong], [one.value for one in right]
    factor = _factor(wrong)
    times = f"{factor:.6g}x " if factor is not None else "not "
    size = f"{times}what finite differences give"
    tests = (
        ("negative elements only", max(bad) < 0 <= min(good)),
        ("positive elements only", min(bad) > 0 >= max(good)),
        (f"elements below {max(bad):.3g} only", max(bad) < min(good)),
        (f"elements above {min(bad):.3g} only", min(bad) > max(good)),
        (
            f"elements of magnitude above {min(map(abs, bad)):.3g} only",
            min(map(abs, bad)) > max(map(abs, good)),
        ),
    )
    for words, holds in tests:
        if holds and len(bad) > 1 and len(good) > 1:
            return words, f"is {size}, in {words} ({len(bad)} of {looked} looked at)"
    return "some elements", f"is {size}, in {len(bad)} of the {looked} elements looked at"


def _fixed(station: Station, position: int) -> dict[int, int] | None:
    """Which coordinates all wrong elements share: {0: 3} is row 3; None where they share none.

    For an error E, the signed sums s = <r, E> and s_d = <r k_d, E>, with r random signs and k_d the
    coordinate along dimension d, give s_d / s = k_d when every wrong element has that coordinate. A second
    draw of r rules out chance, unless the one element left accounts for all of s.
    """
    tensor = station.specimen.leaves[position].tensor
    found: dict[int, int] | None = None
    for draw in (0, 1):
        signs = signs_like(tensor, station.seed + 977 * (draw + 1))
        whole = _error_along(station, position, signs, 1)
        if not whole:
            return None
        here = {}
        for dim, size in enumerate(tensor.shape):
            if size > 1 and found is not None and dim not in found:
                continue
            where = _coordinate(station, position, signs, dim) / whole if size > 1 else 0.0
            if (
                math.isfinite(where)
                and abs(where - round(where)) < _NEAR_INTEGER
                and 0 <= round(where) < size
            ):
                here[dim] = round(where)
        found = here if found is None else {d: k for d, k in found.items() if here.get(d) == k}
        if not any(tensor.shape[dim] > 1 for dim in found):
            return None
        if not draw and _is_all(station, position, found, whole, signs):
            return found
    return found


def _is_all(station: Station, position: int, fixed: dict[int, int], whole: float, signs: Tensor) -> bool:
    """Whether the signed sum of the errors is that of a single element: no second draw would say more."""
    tensor = station.specimen.leaves[position].tensor
    if any(size > 1 and dim not in fixed for dim, size in enumerate(tensor.shape)):
        return False
    (flat,) = _slice_of(tensor, fixed)
    sample = _sample(station, position, tensor, station.gradients[position], flat)
    error = (sample.element.got - sample.element.expected) * float(signs[sample.element.index])
    return sample.is_wrong and abs(error - whole) < _NEAR_INTEGER * abs(whole)


def _coordinate(station: Station, position: int, signs: Tensor, dim: int) -> float:
    size = signs.shape[dim]
    shape = [size if d == dim else 1 for d in range(signs.dim())]
    places = torch.arange(size, dtype=signs.dtype, device=signs.device).view(shape)
    return _error_along(station, position, signs * places, size - 1)


def _error_along(station: Station, position: int, direction: Tensor, longest: int) -> float:
    """<gradient by backward - true gradient, direction>, of which no element is longer; 0 where it drowns in rounding."""
    direction = station.specimen.leaves[position].hold(direction)
    got = dot([station.gradients[position]], [direction])
    step = 4 * station.precision.step / longest  # no element moves further than it does alone
    every: list[Tensor | None] = [None] * len(station.specimen.leaves)
    every[position] = direction
    with walking(station.specimen, station.projection, every) as line:
        return got - line.slope(step)


def _in_slice(station: Station, position: int, fixed: dict[int, int]) -> Pattern:
    tensor = station.specimen.leaves[position].tensor
    flat = _slice_of(tensor, fixed)
    samples = look(station, position, _spread(flat))
    if len(flat) == 1:
        index, sample = _unravel(flat[0], tensor), samples[0]
        phrase = (
            f"at {index} is {sample.element.got:.6g}, finite differences give {sample.element.expected:.6g} "
            f"(x{sample.element.ratio:.6g}); its other elements are right"
        )
        return Pattern(f"element {index}", phrase, (sample.element,), index)
    found = describe(samples, tensor, total=len(flat))
    name = slice_name(tensor.dim(), fixed, tensor.shape)
    return Pattern(f"{name}: {found.kind}", f"in {name} {found.phrase}", found.worst, found.index)


def _slice_of(tensor: Tensor, fixed: dict[int, int]) -> list[int]:
    places = torch.arange(tensor.numel()).view(tensor.shape)
    for dim, at in fixed.items():
        places = places.select(dim, at).unsqueeze(dim)
    found: list[int] = places.reshape(-1).tolist()
    return found


def slice_name(dims: int, fixed: dict[int, int], shape: Sequence[int]) -> str:
    """`row 3` and `column 5` of a matrix, `[:, 3, :]` of anything else."""
    fixed = {dim: at for dim, at in fixed.items() if shape[dim] > 1}
    if dims == 2 and len(fixed) == 1:  # noqa: PLR2004 - a matrix has rows and columns
        dim, at = next(iter(fixed.items()))
        return f"row {at}" if dim == 0 else f"column {at}"
    return "[" + ", ".join(str(fixed.get(dim, ":")) for dim in range(dims)) + "]"


def _sample(station: Station, position: int, tensor: Tensor, gradient: Tensor | None, flat: int) -> Sample:
    index = _unravel(flat, tensor)
    step = 4 * station.precision.step
    with walking_one(station.specimen, station.projection, position, index) as line:
        expected = line.slope(step)
    got = 0.0 if gradient is None else float(torch.real(gradient[index]))
    noise = closeness.GRADIENT_ROUNDINGS * station.projection.size * station.precision.rounding / step
    unsure = max(noise, closeness.GRADIENT_DOUBT * station.precision.relative * abs(expected))
    value = float(torch.real(tensor.detach()[index]))
    return Sample(Element(index, got, expected), value, not abs(got - expected) <= unsure)


def _unravel(flat: int, tensor: Tensor) -> tuple[int, ...]:
    index: list[int] = []
    for size in reversed(tensor.shape):
        flat, at = divmod(flat, size)
        index.append(at)
    return tuple(reversed(index))


def _extremes(tensor: Tensor) -> list[int]:
    """The largest and the smallest elements: some errors live only there."""
    values = torch.real(tensor.detach()).reshape(-1)
    count = min(_EXTREMES, values.numel())
    return [*values.topk(count).indices.tolist(), *values.topk(count, largest=False).indices.tolist()]


def _spread(flat: Sequence[int]) -> list[int]:
    """A few of the elements, at irregular distances."""
    if len(flat) <= _SAMPLES:
        return list(flat)
    stride = len(flat) * 0.6180339887498949  # the golden ratio visits evenly and never in step with a row
    return sorted({flat[int(k * stride) % len(flat)] for k in range(_SAMPLES)})
