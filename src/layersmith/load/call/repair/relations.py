"""What is left when an error names no pair: other numbers of the message, equal shapes, round sizes."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

from layersmith.load.call.callee import State
from layersmith.load.call.clue import BATCH, PRIMES
from layersmith.load.call.repair.complaint import Complaint
from layersmith.load.call.repair.conditions import condition_pairs
from layersmith.load.call.repair.flattened import open_sides
from layersmith.load.call.repair.messages import Pair, directed_pairs, undirected_pairs
from layersmith.load.call.structure import side
from layersmith.load.values import TensorSpec, specs

_ROUND = (16, 32, 64)
_SEQUENCE, _IMAGE = 3, 4  # ranks
_LARGEST = 4096
_LEVELS = 3  # of a pyramid, at least
_UNITS = (4, 8, 16, 32, 128)  # what so many halvings leave whole
_MOST_STEPS = 64  # of a loop
_MOST_PARTS = 4  # into which channels are taken apart
_MOST_LOST = 16  # rows that rounding down loses on the way down and up again


def numbers(complaint: Complaint) -> Iterator[State]:
    """Numbers of the message that are ours become others of the message."""
    ours = [n for n in dict.fromkeys(complaint.numbers) if n in complaint.free_sizes]
    others = [
        n for n in dict.fromkeys(complaint.numbers) if n not in complaint.all_sizes and 0 < n <= _LARGEST
    ]
    for old in ours:
        for new in others[:3]:
            yield from complaint.with_size(old, new)


def unified(complaint: Complaint) -> Iterator[State]:
    """All tensors get the first one's shape, or its length."""
    found = list(specs(list(complaint.state.values())))
    if len(found) < 2 or not complaint.says("shape|size|dimension|match|broadcast"):  # noqa: PLR2004 - two to compare
        return
    first = found[0]
    yield complaint.with_specs(lambda spec: replace(spec, shape=first.shape, free=first.free))
    yield complaint.with_specs(
        lambda spec: spec.resized(1, first.shape[1]) if spec.rank > 1 < first.rank else spec
    )


def counted_past(complaint: Complaint) -> Iterator[State]:
    """As many steps as a loop takes that runs past the end: `for t in range(seq_len): x[t]`, where 10 is the default."""
    past = complaint.says(r"index (\d+) is out of bounds for dimension (\d) with size (\d+)")
    end, axis = (int(past[1]), int(past[2])) if past and past[1] == past[3] else (0, 0)
    callee = complaint.callee
    known = [p.default for n, p in callee.parameters.items() if n not in complaint.state]
    known += [*callee.arguments.values(), *callee.settings.values()]
    for count in sorted({n for n in known if type(n) is int and end < n <= _MOST_STEPS} if past else ()):
        yield complaint.with_specs(
            lambda spec, count=count: (  # type: ignore[misc]
                spec.resized(axis, count) if spec.rank > axis and spec.shape[axis] == end else spec
            )
        )


def halved(complaint: Complaint) -> Iterator[State]:
    """Sides that can be halved several times, where a map comes back up smaller than the one that it meets."""
    pair = next(itertools.chain(undirected_pairs(complaint.text), condition_pairs(complaint)), None)
    sides = {size for spec in specs(list(complaint.state.values())) for size in spec.shape[2:]}
    if pair is None or not 0 < abs(pair[0] - pair[1]) < _MOST_LOST:
        return
    if sides & {*pair} and not _is_rounded(complaint, *sorted(pair)):
        return
    yield from _in_any_units(complaint, pair)


def cut(complaint: Complaint) -> Iterator[State]:
    """Sides that come out even where a view cuts them into squares: `x.view(b, c, h // 2, 2, w // 2, 2)`."""
    view = complaint.says(r"shape '\[([\d, ]+)\]' is invalid for input of size")
    parts = [int(size) for size in view[1].split(",")] if view else []
    cuts = {(one, other) for one, other in itertools.pairwise(parts) if other > 1}
    images = [spec for spec in specs(list(complaint.state.values())) if spec.rank == _IMAGE]
    sides = {spec.shape[index] for spec in images for index in open_sides(spec)}
    if any(size // by == count and size % by for size in sides for count, by in cuts):
        yield from _in_any_units(complaint, (0, 0))
    for name, value in complaint.state.items():
        if isinstance(value, tuple) and [*map(type, value)] == [int, int]:
            yield from _in_windows(complaint, name, value, cuts)


def _in_windows(complaint: Complaint, name: str, sides: tuple[int, int], cuts: set[Pair]) -> Iterator[State]:
    """Sides in whole windows of a map whose places stand in a row: `x.view(b, h // 4, 4, w // 4, 4, c)`."""
    units = [by for count, by in cuts if any(side // by == count and side % by for side in sides)]
    for unit in units[:1]:
        high, wide = (-(-side // unit) * unit for side in sides)
        whole = (high, wide + unit * (wide == high))
        of_places = functools.partial(_of_places, count=math.prod(sides), other=math.prod(whole))
        yield {**complaint.with_specs(of_places), name: whole}


def _of_places(spec: TensorSpec, count: int, other: int) -> TensorSpec:
    """The same with another number of places where it has just so many."""
    axes = [axis for axis in range(1, spec.rank) if spec.shape[axis] == count]
    return spec.resized(axes[0], other) if axes else spec


def _in_any_units(complaint: Complaint, avoided: Pair) -> Iterator[State]:
    for unit in _UNITS:
        yield complaint.with_specs(lambda spec, unit=unit: _in_units(spec, unit, avoided))  # type: ignore[misc]


def _is_rounded(complaint: Complaint, low: int, high: int) -> bool:
    """Whether that is a side of the only image, and what is left of it after it was halved: 11 and 10."""
    images = [spec for spec in specs(list(complaint.state.values())) if spec.rank > _SEQUENCE]
    return len(images) == 1 and high in images[0].shape[2:] and high // 2 * 2 == low


def doubled(complaint: Complaint) -> Iterator[State]:
    """One of two images larger: the other is enlarged before they meet; twice the channels where half are left."""
    low, high = sorted(next(undirected_pairs(complaint.text), (0, 0)))
    images = [n for n, v in complaint.state.items() if isinstance(v, TensorSpec) and v.rank > _SEQUENCE]
    if not low and high:  # `x[:, : c // 2], x[:, c // 2 :]`, and the first half was all of it
        yield complaint.with_specs(lambda spec: _times(spec, high, 2))
    # `a, b = x.chunk(2, dim=1)`, and a layer takes a as wide as x.
    for given, wanted in directed_pairs(complaint.text):
        if given and 1 < wanted // given <= _MOST_PARTS and wanted % given == 0:
            yield complaint.with_specs(functools.partial(_times, size=wanted, times=wanted // given))
    if len(images) > 1 and low and high in (2 * low - 1, 2 * low, 3 * low, 4 * low):  # 11 that became 6
        for name in reversed(images):
            yield complaint.with_specs(lambda spec: _enlarged(spec, -(-high // low)), [name])


def members(complaint: Complaint) -> Iterator[State]:
    """One of the tensors in a tuple with another size, where it meets what was made of another: `x, skip = inputs`."""
    for one, other in undirected_pairs(complaint.text):
        for old, new in ((one, other), (other, one)):
            for name, value in complaint.state.items():
                is_pair = isinstance(value, list | tuple) and len(value) > 1
                if is_pair and new and all(isinstance(member, TensorSpec) for member in value):
                    for place in reversed(range(len(value))):
                        if old in value[place].shape[1:]:
                            changed = value[place].resized(value[place].shape.index(old, 1), new)
                            yield complaint.with_value(
                                name, type(value)([*value[:place], changed, *value[place + 1 :]])
                            )


def _times(spec: TensorSpec, size: int, times: int) -> TensorSpec:
    """The same with a few times as many channels or features where it has so many."""
    axes = [axis for axis in range(1, spec.rank) if spec.shape[axis] == size]
    return spec.resized(axes[0], times * size) if axes else spec


def pyramid(complaint: Complaint) -> Iterator[State]:
    """Feature maps each half as large as the one before, where equal ones meet after one was enlarged."""
    low, high = sorted(next(undirected_pairs(complaint.text), (0, 0)))
    if not (low and high in (2 * low, 4 * low)) and not complaint.says("4D and 5D input Tensors supported"):
        return
    for name, value in complaint.state.items():
        is_list = isinstance(value, list | tuple) and len(value) >= _LEVELS
        if is_list and all(isinstance(one, TensorSpec) and one.shape == value[0].shape for one in value):
            sides = [side(level, len(value)) for level in range(len(value))]
            maps = [TensorSpec((BATCH, PRIMES[0], one, one), free=frozenset({1})) for one in sides]
            yield complaint.with_value(name, type(value)(maps))
    images = [n for n, v in complaint.state.items() if isinstance(v, TensorSpec) and v.rank == _IMAGE]
    if len(images) >= _LEVELS and len({complaint.state[name].shape[2:] for name in images}) == 1:
        levels = {name: _at_level(complaint.state[name], level) for level, name in enumerate(images)}
        yield {**complaint.state, **levels}


def _at_level(spec: TensorSpec, level: int) -> TensorSpec:
    for index in open_sides(spec):
        spec = spec.resized(index, max(1, spec.shape[index] >> level), fix=False)
    return spec


def _enlarged(spec: TensorSpec, times: int) -> TensorSpec:
    for index in open_sides(spec):
        spec = spec.resized(index, times * spec.shape[index], fix=False)
    return spec


def _in_units(spec: TensorSpec, unit: int, avoided: Pair) -> TensorSpec:
    """An image whose free sides are multiples of a number, and differ from each other and from what is avoided."""
    taken = [*avoided]
    for index in open_sides(spec) if spec.rank > _SEQUENCE else []:
        whole = -(-spec.shape[index] // unit) * unit
        taken.append(next(size for size in itertools.count(whole, unit) if size not in taken))
        spec = spec.resized(index, taken[-1], fix=False)
    return spec


def square(complaint: Complaint) -> Iterator[State]:
    """Every free dimension gets the same round size."""
    is_about_shape = complaint.says("shape|size|dimension|match|broadcast") or isinstance(
        complaint.error, AssertionError
    )
    for size in _ROUND if is_about_shape else ():
        yield complaint.with_specs(lambda spec, size=size: _all_free(spec, size))  # type: ignore[misc]


def one_row(complaint: Complaint) -> Iterator[State]:
    """A batch of one, which alone allows a view of what was transposed: `rnn(x)[0].view(-1, classes)`."""
    if complaint.says("view size is not compatible"):
        yield complaint.with_specs(lambda spec: _of_rows(spec, 1))


def without_rows(complaint: Complaint) -> Iterator[State]:
    """A batch of one where a view has no axis for rows, and would hold one: `image.view(channels, height * width)`."""
    view = complaint.says(r"shape '\[([\d, ]+)\]' is invalid for input of size (\d+)")
    whole = math.prod(map(int, view[1].split(","))) if view else 0
    if view is not None and whole and _rows(complaint) == {int(view[2]) / whole}:
        yield complaint.with_specs(lambda spec: _of_rows(spec, 1))


def whole_groups(complaint: Complaint) -> Iterator[State]:
    """As many rows as stand in a group that is made of them: `x.view(4, -1, c, h, w)` of five images."""
    view = complaint.says(r"shape '\[(\d+), -1, [\d, ]+\]' is invalid for input of size \d+")
    count = int(view[1]) if view else 0
    if 1 < count < min(_rows(complaint), default=0):
        yield complaint.with_specs(lambda spec: _of_rows(spec, count))


def _rows(complaint: Complaint) -> set[int]:
    return {spec.shape[0] for spec in specs(list(complaint.state.values())) if spec.rank > 1}


def _of_rows(spec: TensorSpec, count: int) -> TensorSpec:
    return spec.resized(0, count, fix=False) if spec.rank > 1 else spec


def _all_free(spec: TensorSpec, size: int) -> TensorSpec:
    for index in sorted(spec.free):
        if index > 0:
            spec = spec.resized(index, size, fix=False)
    return spec
