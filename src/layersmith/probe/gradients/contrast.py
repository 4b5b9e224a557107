"""Two gradients of the same tensors that should be equal: where they are not, and the pattern in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from layersmith.probe.gradients.pattern import Pattern, Sample, describe, slice_name
from layersmith.probe.gradients.projection import norms
from layersmith.probe.gradients.report import Element
from layersmith.probe.gradients.specimen import Leaf

_CLEAR = 0.5
NOISE = 10.0  # times what a repetition changes, a gap may be noise
_SHOWN = 24  # wrong elements, and as many right ones, that a pattern is read from


@dataclass(frozen=True, slots=True)
class Contrast:
    """The gaps between two lists of gradients, each relative to the norm of what is expected."""

    got: Sequence[Tensor | None]
    expected: Sequence[Tensor | None]
    gaps: list[float]
    limit: float

    @property
    def worst(self) -> float:
        """The largest gap."""
        return max(self.gaps, default=0.0)

    @property
    def wrong(self) -> list[int]:
        """Positions of the leaves whose gap is open; NaN on one side only is an open gap."""
        return [i for i, one in enumerate(self.gaps) if not one <= self.limit]

    def beyond(self, repeated: Contrast) -> Contrast:
        """The same where a gap is far wider than that of a mere repetition; the others count as equal."""
        pairs = zip(self.gaps, repeated.gaps, strict=True)
        gaps = [0.0 if gap <= NOISE * noise else gap for gap, noise in pairs]
        return Contrast(self.got, self.expected, gaps, self.limit)

    def only(self, positions: Sequence[int]) -> Contrast:
        """The same for some leaves; the others count as equal."""
        gaps = [gap if i in positions else 0.0 for i, gap in enumerate(self.gaps)]
        return Contrast(self.got, self.expected, gaps, self.limit)


def contrast(
    got: Sequence[Tensor | None], expected: Sequence[Tensor | None], *, limit: float, floor: float = 0.0
) -> Contrast:
    """Compare two lists of gradients; a norm below `floor` counts as the floor: noise is not blown up."""
    apart = [_minus(a, b) for a, b in zip(got, expected, strict=True)]
    sizes = [max(size, floor) for size in norms(expected)]
    gaps = [_relative(gap, size) for gap, size in zip(norms(apart), sizes, strict=True)]
    return Contrast(got, expected, gaps, limit)


def pattern_of(found: Contrast, position: int, leaf: Leaf) -> Pattern:
    """The pattern in the wrong elements of one leaf; all of them are known here."""
    got, expected = _dense(found.got[position], leaf), _dense(found.expected[position], leaf)
    apart = (got - expected).abs()
    typical = expected.abs().square().mean().sqrt()
    wrong = ~(apart <= found.limit * (expected.abs() + typical))
    if not bool(wrong.any()):
        wrong = ~(apart < apart.max())
    index = wrong.nonzero()
    fixed = {d: int(index[0, d]) for d in range(index.shape[1]) if bool((index[:, d] == index[0, d]).all())}
    moving = {d: at for d, at in fixed.items() if wrong.shape[d] > 1}
    if moving and len(index) > 1:
        part = wrong
        for d, at in moving.items():
            part = part.select(d, at).unsqueeze(d)
        inner = describe(
            _samples(got, expected, wrong, leaf, wrong_only=True), leaf.tensor, total=part.numel()
        )
        name = slice_name(wrong.dim(), moving, wrong.shape)
        return Pattern(f"{name}: {inner.kind}", f"in {name} {inner.phrase}", inner.worst, inner.index)
    samples = _samples(got, expected, wrong, leaf)
    if len(index) == 1 and wrong.numel() > 1:
        element = next(one.element for one in samples if one.is_wrong)
        phrase = f"at {element.index} is {element.got:.6g}, should be {element.expected:.6g}"
        return Pattern(f"element {element.index}", phrase, (element,), element.index)
    return describe(samples, leaf.tensor)


def _samples(
    got: Tensor, expected: Tensor, wrong: Tensor, leaf: Leaf, *, wrong_only: bool = False
) -> list[Sample]:
    chosen = [(row, True) for row in _some(wrong.nonzero())]
    if not wrong_only:  # an element that is all but zero is neither right nor wrong
        clear = expected.abs() > _CLEAR * expected.abs().mean()
        chosen += [(row, False) for row in _some((~wrong & clear).nonzero())]
    found = []
    for index, is_wrong in chosen:
        element = Element(index, _real(got[index]), _real(expected[index]))
        found.append(Sample(element, _real(leaf.tensor.detach()[index]), is_wrong))
    return found


def _some(rows: Tensor) -> list[tuple[int, ...]]:
    stride = max(1, len(rows) // _SHOWN)
    return [tuple(int(k) for k in row) for row in rows[::stride][:_SHOWN]]


def _real(value: Tensor) -> float:
    return float(torch.real(value)) if value.is_complex() else float(value)


def _dense(gradient: Tensor | None, leaf: Leaf) -> Tensor:
    return torch.zeros_like(leaf.tensor.detach()) if gradient is None else gradient.detach()


def _minus(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return a.detach() - b.detach()


def _relative(gap: float, size: float) -> float:
    return gap / size if size else (0.0 if gap == 0 else math.inf)
