"""Which tensors are wrong: the joint probe on halves of the set, until each half is one tensor.

That some are is known before. Where all of a large network's are, as behind a quantiser, the first few found say as much
as the rest, which would take minutes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from layersmith.probe.gradients.joint import Reading, Verdict
from layersmith.probe.gradients.station import Station

SECONDS = 4.0  # of CPU time


@dataclass(frozen=True, slots=True)
class Blamed:
    """One leaf whose gradient is wrong, with the reading that shows it."""

    position: int
    reading: Reading


@dataclass(slots=True)
class _Search:
    station: Station
    refined: bool
    ends: float = field(default_factory=lambda: time.process_time() + SECONDS)

    def among(self, part: range, draw: int) -> list[Blamed]:
        """The wrong leaves of a part; those of its first half where the time is over before the second."""
        if time.process_time() > self.ends:
            return []
        reading = self.station.read(draw=draw, only=part, refined=self.refined)
        if reading.verdict is not Verdict.WRONG:
            return []
        if len(part) == 1:
            return [Blamed(part.start, reading)]
        middle = (part.start + part.stop) // 2
        found = self.among(range(part.start, middle), draw + 1)
        return found + self.among(range(middle, part.stop), draw + 1)


def blame(station: Station, *, refined: bool = False) -> list[Blamed]:
    """Every wrong leaf, or those found in time; empty where the error shows in all together but in no one alone."""
    every, search = range(len(station.specimen.leaves)), _Search(station, refined)
    if len(every) == 1:
        return search.among(every, 20) or search.among(every, 40)
    middle = len(every) // 2
    found = search.among(every[:middle], 20) + search.among(every[middle:], 20)
    return found or [found for one in every for found in search.among(range(one, one + 1), 40)]
