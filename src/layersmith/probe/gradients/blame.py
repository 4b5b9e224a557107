"""Which tensors are wrong: the joint probe on halves of the set, until each half is one tensor."""

from __future__ import annotations

from dataclasses import dataclass

from layersmith.probe.gradients.joint import Reading, Verdict
from layersmith.probe.gradients.station import Station


@dataclass(frozen=True, slots=True)
class Blamed:
    """One leaf whose gradient is wrong, with the reading that shows it."""

    position: int
    reading: Reading


def blame(station: Station) -> list[Blamed]:
    """Every wrong leaf; empty where the error shows in all together but in no one alone."""
    every = range(len(station.specimen.leaves))
    if len(every) == 1:
        return _halve(station, every, draw=20) or _halve(station, every, draw=40)
    return _halve(station, every, draw=20) or [
        found for one in every for found in _halve(station, range(one, one + 1), draw=40)
    ]


def _halve(station: Station, part: range, *, draw: int) -> list[Blamed]:
    reading = station.read(draw=draw, only=part)
    if reading.verdict is not Verdict.WRONG:
        return []
    if len(part) == 1:
        return [Blamed(part.start, reading)]
    middle = (part.start + part.stop) // 2
    left = _halve(station, range(part.start, middle), draw=draw + 1)
    return left + _halve(station, range(middle, part.stop), draw=draw + 1)
