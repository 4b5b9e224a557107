"""Reshapes that stand where a transpose was meant: the axes come out in another order, the values do not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from layersmith.probe.inputs import Inputs
from layersmith.probe.steps import caller
from layersmith.probe.surroundings import preserved

Shape = tuple[int, ...]
RESHAPES = frozenset({"reshape", "view", "reshape_as", "view_as", "_unsafe_view"})
MOVES = RESHAPES | {
    "getitem",
    "narrow",
    "transpose",
    "permute",
    "contiguous",
    "squeeze",
    "unsqueeze",
    "slice",
}
REPEATS = frozenset({"repeat", "tile", "repeat_interleave"})
FILLS = frozenset({"pad", "cat", "concat", "constant_pad_nd"})
MOST_AXES = 7
IMAGE = 4  # axes: rows, channels, height, width


@dataclass(frozen=True, slots=True)
class Scramble:
    """One reshape whose result has the axes of its operand, or products of them, in another order."""

    operation: str
    before: Shape
    after: Shape
    is_certain: bool  # no way to cut the axes finer explains it
    is_likely: bool  # else, whether the axes that are merged are neighbours
    is_cut: bool  # not axes in another order, but pieces that lie across the rows of an image
    file: str
    line: int

    def is_like(self, other: Scramble) -> bool:
        """Whether it is the same operation, in a call with another batch."""
        return (self.operation, self.file, self.line) == (other.operation, other.file, other.line)


def scrambles(module: nn.Module, inputs: Inputs) -> list[Scramble]:
    """Every such operation of one call. One that skews a padded table on purpose is left out."""
    watch = _Watch()
    with preserved(seed=0), watch:
        inputs.clone().call(module)
    return watch.found


class _Watch(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Scramble] = []
        # What was found so, and what is left of that without a row.
        self.turned: dict[int, tuple[Tensor, Scramble]] = {}
        self.repeated: dict[int, Tensor] = {}  # each element or row several times, then cut into as many
        self.skewed: dict[int, Tensor] = {}  # padded, and what was cut of that: reshaped to shift its rows

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Do the operation and look at the shapes."""
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").strip("_")
        first = args[0] if args else None
        if isinstance(result, Tensor):
            if (name in FILLS and _is_padding(name, first)) or (name in MOVES and id(first) in self.skewed):
                self.skewed[id(result)] = result
            elif name == "getitem" and (turned := self.turned.get(id(first))) is not None:
                if sum(turned[0].shape) - sum(result.shape) == 1 and result.ndim == turned[0].ndim:
                    self.turned[id(result)] = (result, turned[1])
            elif name in REPEATS:
                self.repeated[id(result)] = result
            elif name in RESHAPES and id(first) in self.turned:  # turned back, one row less: a shift of rows
                self.found = [one for one in self.found if one is not self.turned[id(first)][1]]
            elif name in RESHAPES and isinstance(first, Tensor) and result.is_floating_point():
                known = len(self.found)
                self._look(name, first.shape, result.shape, is_repeated=id(first) in self.repeated)
                self.turned |= {id(result): (result, one) for one in self.found[known:]}
        return result

    def _look(self, name: str, old: Shape, new: Shape, *, is_repeated: bool) -> None:
        before, after = tuple(old), tuple(new)
        tangled = [group for group in _groups(before, after) if _is_permuted(*group)]
        is_certain = any(not _is_cut_finer(*group) for group in tangled)
        is_likely = not is_repeated and any(_is_permuted(*group, in_runs=True) for group in tangled)
        is_cut = not tangled and _lies_across_rows(before, after)
        if tangled or is_cut:
            found = Scramble(name, before, after, is_certain or is_cut, is_likely, is_cut, *caller())
            self.found.append(found)


def _is_padding(name: str, first: object) -> bool:
    """Whether zeros were put beside a tensor."""
    if "pad" in name:
        return True
    parts = first if isinstance(first, list | tuple) else ()
    return any(isinstance(part, Tensor) and not bool(part.any()) for part in parts if not _is_meta(part))


def _is_meta(part: object) -> bool:
    return isinstance(part, Tensor) and part.is_meta


def _groups(before: Shape, after: Shape) -> Iterator[tuple[Shape, Shape]]:
    """The axes of both, cut into the shortest runs that hold as many numbers; plain splits and merges left out."""
    left, right = [n for n in before if n != 1], [n for n in after if n != 1]
    while left and right and 0 not in (*left, *right):
        one, other = [left.pop(0)], [right.pop(0)]
        while math.prod(one) != math.prod(other):
            (one.append(left.pop(0)) if math.prod(one) < math.prod(other) else other.append(right.pop(0)))
        if len(one) > 1 and len(other) > 1:
            yield tuple(one), tuple(other)


def _is_permuted(one: Shape, other: Shape, *, in_runs: bool = False) -> bool:
    """Whether each axis of one side is the product of some of the other's (that are neighbours), each used once."""
    fewer, more = sorted((one, other), key=len)
    if in_runs:
        return any(sorted(map(math.prod, runs)) == sorted(fewer) for runs in _runs(more, len(fewer)))
    return len(more) <= MOST_AXES and _is_partitioned(fewer, more)


def _runs(sizes: Shape, count: int) -> Iterator[list[Shape]]:
    """Every way to cut the sizes into so many runs."""
    for cuts in combinations(range(1, len(sizes)), count - 1):
        yield [sizes[start:end] for start, end in pairwise((0, *cuts, len(sizes)))]


def _lies_across_rows(before: Shape, after: Shape) -> bool:
    """Whether an image's channels, or parts of them, were meant as last axis, and neighbours in its rows are there.

    Positions that become rows of the batch are a map that was larger than one position, for which nothing was written.
    """
    if (
        before[:1] != after[:1]
        or len(before) != IMAGE
        or 1 in (len(after), after[-1])
        or before[1] % after[-1]
    ):
        return False
    ends = {math.prod(side[place:]) for side in (before[1:], after[1:]) for place in range(len(side))}
    return any(larger % smaller for smaller, larger in pairwise(sorted(ends)))


def _is_partitioned(fewer: Shape, more: Shape) -> bool:
    if not fewer:
        return not more
    return any(
        math.prod(chosen) == fewer[0] and _is_partitioned(fewer[1:], rest) for chosen, rest in _choices(more)
    )


def _choices(sizes: Shape) -> Iterator[tuple[Shape, Shape]]:
    """Every non-empty choice of the sizes, with what is left."""
    for mask in range(1, 2 ** len(sizes)):
        yield (
            tuple(n for place, n in enumerate(sizes) if mask >> place & 1),
            tuple(n for place, n in enumerate(sizes) if not mask >> place & 1),
        )


def _is_cut_finer(one: Shape, other: Shape) -> bool:
    """Whether axes of which both are made in order exist, as in (2, 12) -> (2 * 3, 4)."""
    ends = sorted({math.prod(side[place:]) for side in (one, other) for place in range(len(side))})
    return all(larger % smaller == 0 for smaller, larger in pairwise(ends))
