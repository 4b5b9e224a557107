"""Curves by depth: signal and gradient, before and after a repair, as numbers and as lines of blocks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from layersmith.finding import Measurement

BLOCKS = "▁▂▃▄▅▆▇█"
MOST = 48  # characters of a curve
FEWEST = 3  # points that make a curve
DECADES = 6  # that a curve shows, around 1: from 1e-3 to 1e3
PANELS = (("signal", "std"), ("gradient", "gradient_std"))


@dataclass(frozen=True, slots=True)
class Curve:
    """One number of every submodule, in call order; NaN where it is missing."""

    title: str  # of the panel
    is_after: bool  # a repair
    wheres: tuple[str, ...]
    values: tuple[float, ...]


def curves(measurements: Iterable[Measurement]) -> list[Curve]:
    """Signal and gradient by depth, before and, where a repair was measured, after it."""
    found: dict[str, dict[str, float]] = {}
    for one in measurements:
        found.setdefault(one.name, {})[one.where] = one.value
    # The whole module gives what its last part gave; only one without parts needs it.
    wheres = tuple(where for where in found.get("std", {}) if where)
    if all(where.startswith("input") for where in wheres):
        wheres = (*wheres, "")
    drawn = []
    for title, name in PANELS:
        for prefix in ("", "repaired_"):
            numbers = found.get(prefix + name, {})
            values = tuple(numbers.get(where, math.nan) for where in wheres)
            if any(math.isfinite(value) for value in values):
                drawn.append(Curve(title, bool(prefix), wheres, values))
    return drawn


def lines(measurements: Iterable[Measurement]) -> list[str]:
    """A line a curve: `signal  ▄▄▅▆▇█  0.94 to 3.1e+04`, and the depth that weights foretell."""
    measurements = [*measurements]
    shown = []
    for curve in curves(measurements):
        known = [value for value in curve.values if math.isfinite(value)]
        if len(known) < FEWEST:
            continue
        label = f"{curve.title}{' repaired' if curve.is_after else ''}"
        shown.append(f"{label:<18} {sparkline(curve.values)}  {min(known):.3g} to {max(known):.3g}")
    lost = next(
        (one.where for one in measurements if one.name == "std" and not math.isfinite(one.value)), None
    )
    if lost is not None:
        shown.append(f"the signal is not finite from {lost or 'the output'} on")
    depth = next((one.value for one in measurements if one.name == "signal_depth"), math.inf)
    if math.isfinite(depth):
        shown.append(f"with these weights a signal survives about {max(depth, 0.1):.2g} layers")
    return shown


def sparkline(values: Sequence[float]) -> str:
    """A character a value, on a logarithmic scale of six decades around the first; a space where there is none."""
    first = next((value for value in values if math.isfinite(value) and value > 0), 1.0)
    step = max(1, math.ceil(len(values) / MOST))
    return "".join(_block(value / first) for value in values[::step])


def _block(ratio: float) -> str:
    if math.isnan(ratio):
        return " "
    height = 0.0 if ratio <= 0 else math.log10(max(min(ratio, 1e99), 1e-99)) / DECADES + 0.5
    return BLOCKS[max(0, min(len(BLOCKS) - 1, round(height * (len(BLOCKS) - 1))))]
