"""A walk along one direction: the projected output as a function of one number, and its slope."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from layersmith.probe.gradients.projection import Projection
from layersmith.probe.gradients.specimen import Specimen


class Line:
    """phi(t) = Re <u, outputs at leaves + t v>, each value computed once."""

    def __init__(
        self, specimen: Specimen, projection: Projection, moved: list[Tensor], direction: list[Tensor]
    ) -> None:
        self.specimen, self.projection = specimen, projection
        self.moved, self.direction = moved, direction
        self.known: dict[float, float] = {}
        self.at = 0.0

    def slope(self, step: float) -> float:
        """The central difference over two steps."""
        return (self.value(step) - self.value(-step)) / (2 * step)

    def refined(self, step: float) -> float:
        """Richardson's four-point difference: exact for polynomials of degree four."""
        return (4 * self.slope(step / 2) - self.slope(step)) / 3

    def value(self, t: float) -> float:
        """Phi at one place; NaN where the module refuses to be evaluated there."""
        if t not in self.known:
            torch._foreach_add_(self.moved, self.direction, alpha=t - self.at)
            self.at = t
            try:
                self.known[t] = self.projection.value(self.specimen.outputs())
            except Exception:  # noqa: BLE001 - beyond the edge of its domain a module may raise anything
                self.known[t] = math.nan
        return self.known[t]

    def noise(self, spacing: float) -> float:
        """How much rounding moves phi: differences of seven close values (Moré and Wild, ECNoise, 2011)."""
        row = [self.value(k * spacing) for k in range(-3, 4)]
        for _ in range(3):
            row = [b - a for a, b in itertools.pairwise(row)]
        return math.sqrt(sum(d * d for d in row) / (len(row) * 20))  # 20 = 6! / 3!^2


@contextmanager
def walking(specimen: Specimen, projection: Projection, direction: Sequence[Tensor | None]) -> Iterator[Line]:
    """A line through the specimen's point; where the direction is None a leaf stays in place."""
    pairs = [(t, v) for t, v in zip(specimen.tensors, direction, strict=True) if v is not None]
    with _moving(Line(specimen, projection, [t for t, _ in pairs], [v for _, v in pairs])) as line:
        yield line


@contextmanager
def walking_one(
    specimen: Specimen, projection: Projection, position: int, index: tuple[int, ...]
) -> Iterator[Line]:
    """A line along one element of one leaf."""
    element = specimen.tensors[position][index]
    with _moving(Line(specimen, projection, [element], [torch.ones_like(element)])) as line:
        yield line


@contextmanager
def _moving(line: Line) -> Iterator[Line]:
    """Afterwards every leaf is, to the bit, where it was."""
    kept = [tensor.clone() for tensor in line.moved]
    try:
        with torch.no_grad():
            yield line
    finally:
        torch._foreach_copy_(line.moved, kept)
