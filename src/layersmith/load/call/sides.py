"""The side of an image, or the length of a signal, at which a layer gets as many features as it takes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from layersmith.load.attempt import OutOfBudget
from layersmith.load.call.callee import State
from layersmith.load.call.repair.flattened import open_sides, with_frame
from layersmith.load.call.repair.room import TOO_SMALL
from layersmith.load.values import TensorSpec

_MULTIPLIED = re.compile(r"shapes cannot be multiplied \(\d+x(\d+) and (\d+)x\d+\)")
_VIEW = re.compile(r"shape '\[(?:-1|\d+), (\d+)\]' is invalid for input of size (\d+)")
_LARGEST: Mapping[int, int] = {3: 2**19, 4: 1100, 5: 128}  # sides by rank: samples, pixels, voxels
_USUAL = (28, 32, 48, 64, 84, 96, 112, 128, 160, 224, 227, 256, 299, 320, 384, 416, 448, 512, 640, 1024)
_TRIES = 16
_ROWS = 2  # of a batch are enough to see
_OVERRUNS = 3  # attempts that were too much, after which no more are made
_VECTORS, _IMAGE = 2, 4  # ranks
_LONGEST = 5  # times as wide as it is high
_FAR = 2  # times as large a side, of which other features come if they depend on it at all

Run = Callable[[State], Exception | None]


@dataclass(slots=True)
class Sides:
    """Finds them by halving the range: the features that are flattened grow with the side."""

    run: Run
    asked: set[tuple[str | int, ...]] = field(default_factory=set)  # each search is made once

    def fitting(self, state: State, error: Exception) -> Iterator[State]:
        """States in which sides of inputs, which nothing has fixed, are such that this error is gone.

        Args:
            state: the call that failed.
            error: with which it failed.
        """
        for names in _groups(state):
            spec = state[names[0]]
            pair = features(error, spec.shape[0])
            if pair is None or _is_width(pair, spec) or (key := (*names, spec.rank, pair[1])) in self.asked:
                continue
            self.asked.add(key)
            search = _Search(self.run, state, names, *pair)
            side = search.side_of(pair[1])
            if side:
                yield search.framed((side,) * (spec.rank - 2))
                continue
            yield from search.beside()
            yield from map(search.framed, search.frames())


def _groups(state: State) -> Iterator[tuple[str, ...]]:
    """The inputs with open sides, first those together that are alike: a pair of images goes through one network."""
    specs = {name: spec for name, spec in state.items() if isinstance(spec, TensorSpec)}
    names = [name for name, spec in specs.items() if spec.rank in _LARGEST and open_sides(spec)]
    alike = [name for name in names if specs[name].shape == specs[names[0]].shape]
    yield from [tuple(alike)] if len(alike) > 1 else []
    yield from ((name,) for name in names)


def _is_width(pair: tuple[int, int], spec: TensorSpec) -> bool:
    """Whether a size of the input was given to the layer as it is, or is the one that it takes.

    Not where places were left of channels, of which it takes one each: 9 x 9 x 64 features for 64.
    """
    given, wanted = pair
    return given in spec.shape or (wanted in spec.shape and given % wanted != 0)


class _Search:
    """The search along the sides of one input, or of several that are alike."""

    def __init__(self, run: Run, state: State, names: tuple[str, ...], given: int, wanted: int) -> None:
        self.run, self.state, self.names, self.wanted = run, state, names, wanted
        self.spec: TensorSpec = state[names[0]]
        self.start = self.spec.shape[open_sides(self.spec)[0]]
        self.overruns = 0  # of the memory or the time for an attempt
        self.found = {self.start: given}  # side -> features, 0 where it is too small

    def framed(self, frame: tuple[int, ...]) -> State:
        """The state with these sides."""
        return {**self.state, **{name: with_frame(self.state[name], frame) for name in self.names}}

    def side_of(self, target: int) -> int:
        """The side of so many features, or with which no error speaks of them; 0 if there is none."""
        low = max((side for side, got in self.found.items() if got < target), default=0)
        high = min((side for side, got in self.found.items() if got >= target), default=self.largest + 1)
        at = low or high
        for _ in range(_TRIES):
            got = self.found[at]
            if got == target:
                return at
            low, high = (at, high) if got < target else (low, at)
            is_blind = got == self.found[self.start] and not 1 / _FAR < at / self.start < _FAR
            if high - low < 2 or is_blind or self.overruns == _OVERRUNS:  # noqa: PLR2004 - neighbours
                return 0
            power = 1 / (self.spec.rank - 2)
            guess = at * (target / got) ** power if got else _FAR * at
            at = _between(low, high, guess, is_closed=low > 0 and high <= self.largest)
            self.found[at] = self.features_at(at)
        return 0

    @property
    def largest(self) -> int:
        """The largest side that is tried."""
        return _LARGEST[self.spec.rank]

    @property
    def too_many(self) -> int:
        """What stands for the features of a side that is too much for an attempt."""
        return self.wanted + 1

    def features_at(self, side: int) -> int:
        """How many features a row has; those that are wanted where the error is another, or none."""
        few = min(_ROWS, self.spec.shape[0])
        state = self.framed((side,) * (self.spec.rank - 2))
        met = self.run({name: _of_rows(value, self.spec.shape[0], few) for name, value in state.items()})
        if met is not None and TOO_SMALL.search(str(met)):
            return 0
        if isinstance(met, OutOfBudget):
            self.overruns += 1
            return self.too_many
        pair = features(met, few) if met is not None else None
        return pair[0] if pair is not None and pair[1] == self.wanted else self.wanted

    def beside(self) -> Iterator[State]:
        """A vector that is laid beside the features of an image so wide that it fits: 336 of them and 3 more are 339."""
        seen = {side: got for side, got in self.found.items() if got not in (0, self.too_many)}
        for name, spec in self.state.items():
            is_open = isinstance(spec, TensorSpec) and spec.rank == _VECTORS and 1 in spec.free
            width = spec.shape[1] if is_open and spec.dtype.is_floating_point else 0
            fewer = [side for side, got in seen.items() if 0 < got - width < self.wanted]
            if width and fewer:
                side = max(fewer)
                wide = spec.resized(1, self.wanted - (seen[side] - width))
                yield {**self.framed((side,) * (self.spec.rank - 2)), name: wide}

    def frames(self) -> Iterator[tuple[int, int]]:
        """Heights and widths that are no squares, where none fits: 4 x 8 places of 20 channels are 640 features."""
        seen = {*self.found.values()} - {0, self.too_many}
        channels = math.gcd(*seen)
        if self.spec.rank != _IMAGE or len(seen) < 2 or self.wanted % channels:  # noqa: PLR2004 - one tells nothing
            return
        area = self.wanted // channels
        for high in range(math.isqrt(area), 0, -1):
            if area % high == 0 and area < _LONGEST * high * high:
                sides = [self.side_of(channels * count**2) for count in (high, area // high)]
                yield from [(sides[0], sides[1]), (sides[1], sides[0])] if all(sides) else []


def _of_rows(value: object, rows: int, few: int) -> object:
    """The same with fewer rows, where it has so many: large images take their time."""
    is_batch = isinstance(value, TensorSpec) and value.shape[:1] == (rows,)
    return value.resized(0, few, fix=False) if is_batch and isinstance(value, TensorSpec) else value


def _between(low: int, high: int, guess: float, *, is_closed: bool) -> int:
    """The side to look at next: the guess, or the middle where that lies too near an end of a range that is known.

    A usual side that is near comes first.
    """
    margin = (high - low) / 8 if is_closed else 0
    aim = guess if low + margin <= guess <= high - margin else (low + high) / 2
    near = [side for side in _USUAL if low < side < high and abs(side - aim) < aim / 8]
    return min(near, key=lambda side: abs(side - aim), default=min(max(round(aim), low + 1), high - 1))


def features(error: Exception, rows: int) -> tuple[int, int] | None:
    """How many features of each row a linear map or a view was given, and how many it takes; None of other errors.

    Args:
        error: of the call.
        rows: of the input.
    """
    text = str(error)
    if multiplied := _MULTIPLIED.search(text):
        return int(multiplied[1]), int(multiplied[2])
    view = _VIEW.search(text)
    return (int(view[2]) // rows, int(view[1])) if view else None
