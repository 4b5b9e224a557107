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


def blame(station: Station, *, refined: bool = False) -> list[Blamed]:
    """Every wrong leaf; empty where the error shows in all together but in no one alone."""
    every = range(len(station.specimen.leaves))
    if len(every) == 1:
        return _halve(station, every, 20, refined) or _halve(station, every, 40, refined)
    middle = len(every) // 2  # that some leaf among all is wrong is known already
    found = _halve(station, every[:middle], 20, refined) + _halve(station, every[middle:], 20, refined)
    return found or [found for one in every for found in _halve(station, range(one, one + 1), 40, refined)]


def _halve(station: Station, part: range, draw: int, refined: bool) -> list[Blamed]:  # noqa: FBT001 - it calls itself
    reading = station.read(draw=draw, only=part, refined=refined)
    if reading.verdict is not Verdict.WRONG:
        return []
    if len(part) == 1:
        return [Blamed(part.start, reading)]
    middle = (part.start + part.stop) // 2
    left = _halve(station, range(part.start, middle), draw + 1, refined)
    return left + _halve(station, range(middle, part.stop), draw + 1, refined)
