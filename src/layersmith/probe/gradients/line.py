"""A walk along one direction: the projected output as a function of one number, and its slope."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from layersmith.probe.gradients.projection import Projection
from layersmith.probe.gradients.specimen import Specimen


class Line:
    """phi(t) = Re <u, outputs at leaves + t v>, or another function of the leaves; computed once each."""

    def __init__(
        self,
        measure: Callable[[], float],
        sizes: tuple[float, float],
        moved: list[Tensor],
        direction: list[Tensor],
    ) -> None:
        self.measure = measure
        self.size, self.pull = (
            sizes  # of the summands of phi, and of u: what is lost to rounding goes by them
        )
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
            self.move(t)
            try:
                self.known[t] = self.measure()
            except Exception:  # noqa: BLE001 - beyond the edge of its domain a module may raise anything
                self.known[t] = math.nan
        return self.known[t]

    def move(self, t: float) -> None:
        """Take the leaves to one place of the line."""
        if t != self.at:
            torch._foreach_add_(self.moved, self.direction, alpha=t - self.at)
            self.at = t

    def stay(self) -> None:
        """Do not go back at the end: nobody will look at the leaves again."""
        self.at = 0.0

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
    measure = functools.partial(_project, specimen, projection)
    with moving(Line(measure, projection.sizes, [t for t, _ in pairs], [v for _, v in pairs])) as line:
        yield line


@contextmanager
def walking_one(
    specimen: Specimen, projection: Projection, position: int, index: tuple[int, ...]
) -> Iterator[Line]:
    """A line along one element of one leaf."""
    element = specimen.tensors[position][index]
    measure = functools.partial(_project, specimen, projection)
    with moving(Line(measure, projection.sizes, [element], [torch.ones_like(element)])) as line:
        yield line


@contextmanager
def moving(line: Line) -> Iterator[Line]:
    """Afterwards every leaf is back where it was, up to a rounding: any point near by serves as well."""
    try:
        with torch.no_grad():
            yield line
    finally:
        line.move(0.0)


def _project(specimen: Specimen, projection: Projection) -> float:
    return projection.value(specimen.values())
