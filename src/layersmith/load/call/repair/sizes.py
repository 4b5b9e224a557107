"""What errors say about sizes: pairs of what was given and what was expected, divisors, minima, reshapes."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import replace

from layersmith.load.call.callee import State
from layersmith.load.call.clue import PRIMES
from layersmith.load.call.repair import flattened
from layersmith.load.call.repair.complaint import Complaint
from layersmith.load.call.repair.conditions import condition_pairs
from layersmith.load.call.repair.messages import Pair, directed_pairs, undirected_pairs
from layersmith.load.values import TensorSpec, specs

_PARTS = (2, 3, 4)
_EVEN = 12
_SIDES = (28, 32, 64, 16, 8, 4, 1, 96, 128, 224)
_SEQUENCE, _IMAGE = 3, 4  # ranks
_MOST_ALIKE = 2  # tensors that are changed together only: a query and its keys


def paired(complaint: Complaint) -> Iterator[State]:
    """What was given becomes what was expected, also where the given number is a product of dimensions."""
    said = dict.fromkeys([*condition_pairs(complaint), *_message_pairs(complaint)])
    pairs = [pair for pair in said if min(pair) >= 0]  # -1 is no size
    if complaint.says("normalized_shape"):  # of all features: what is joined to the input is known
        yield from (state for pair in pairs for state in _beside_others(complaint, *pair, least=2))
    for given, wanted in pairs:
        yield from _area(complaint, given, wanted)
    for given, wanted in pairs:
        direct = list(complaint.with_size(given, wanted))
        yield from direct
        yield from _of_one(complaint, given, wanted)
        if direct:
            continue
        yield from _of_one_image(complaint, given, wanted)
        yield from complaint.with_size(given, wanted, only_free=False)
        if given not in complaint.all_sizes and given > 1:
            yield from _factors(complaint, given, wanted)


def _of_one(complaint: Complaint, given: int, wanted: int) -> Iterator[State]:
    """One of several sequences of that length alone, the last first: what comes beside a target is as long as that."""
    sharing = [
        name
        for name, value in complaint.state.items()
        if isinstance(value, TensorSpec) and value.rank == _SEQUENCE and value.shape[1] == given
    ]
    for name in reversed(sharing if len(sharing) > _MOST_ALIKE else []):
        for state in complaint.with_size(given, wanted, only_free=False):
            yield complaint.with_value(name, state[name])


def _of_one_image(complaint: Complaint, given: int, wanted: int) -> Iterator[State]:
    """The channels of one of two images, where what a layer wants of the other is known: a skip connection's."""
    images = [n for n, v in complaint.state.items() if isinstance(v, TensorSpec) and v.rank > _SEQUENCE]
    sharing = [name for name in images if complaint.state[name].shape[1] == given]
    if len(sharing) > 1 and "non-singleton dimension 1" in complaint.text:
        yield from (
            complaint.with_value(name, complaint.state[name].resized(1, wanted)) for name in reversed(sharing)
        )


def shapes(complaint: Complaint) -> Iterator[State]:
    """The shape that the message holds against that of an input: "same shape. Got [5, 32] and [32]"."""
    if not complaint.says("shape"):
        return
    said = [
        tuple(map(int, found.split(","))) for found in re.findall(r"\[(\d+(?:, ?\d+)*)\]", complaint.text)
    ]
    for name in complaint.blamed:
        spec = complaint.state[name]
        if isinstance(spec, TensorSpec) and spec.shape in said:
            others = [shape for shape in dict.fromkeys(said) if shape != spec.shape]
            yield from (complaint.with_value(name, TensorSpec(o, spec.dtype, spec.high)) for o in others[:2])


def classes(complaint: Complaint) -> Iterator[State]:
    """One weight a class, as a loss takes them: "for all 32 classes or no classes but got weight tensor of shape"."""
    match = complaint.says(r"for all (\d+) classes.* weight tensor of shape: \[([\d, ]+)\]")
    if not match:
        return
    shape = tuple(map(int, match.group(2).split(",")))
    for name in reversed(complaint.tensors):
        spec = complaint.state[name]
        if isinstance(spec, TensorSpec) and spec.shape == shape and spec.dtype.is_floating_point:
            yield complaint.with_value(name, TensorSpec((int(match.group(1)),), spec.dtype, spec.high))


def _factors(complaint: Complaint, given: int, wanted: int) -> Iterator[State]:
    told = {value for value in complaint.callee.arguments.values() if type(value) is int}
    yield from _alike(complaint, given, wanted)
    yield from _beside_others(complaint, given, wanted)
    side = math.isqrt(wanted)
    for size in sorted(complaint.free_sizes):  # an outer product of the input with itself
        if size * size == given and side * side == wanted:
            yield from complaint.with_size(size, side)
    yield from _side_by_side(complaint, given, wanted, told)
    for size, parts in itertools.product(sorted(complaint.free_sizes), _PARTS):
        if given in (size // parts, -(-size // parts)):  # forward takes the input apart: x.chunk(2, 1)
            yield from complaint.with_size(size, wanted * parts)
    yield from _concatenated(complaint, given, wanted - given)
    for size in sorted(complaint.free_sizes, reverse=True):
        if size > 1 and given % size == 0 and (wanted * size) % given == 0:
            yield from complaint.with_size(size, wanted * size // given)
    yield from flattened.whole(complaint, given, wanted)
    yield from flattened.framed(complaint, given, wanted)
    yield from flattened.flattened(complaint, given, wanted)
    # Of one input beside a part of itself, as points beside their coordinates.
    if complaint.says("channels") and len(complaint.tensors) == 1:
        for size in sorted(complaint.free_sizes):
            yield from complaint.with_size(size, size + wanted - given)
    for side in _SIDES:
        yield complaint.with_specs(lambda spec, side=side: flattened.with_sides(spec, side))  # type: ignore[misc]


def _alike(complaint: Complaint, given: int, wanted: int) -> Iterator[State]:
    """Several inputs as wide as each other, beside a state of the told width: 32 + 7 + 7 = 46, where 96 are wanted."""
    known = (*complaint.callee.arguments.values(), *complaint.callee.settings.values())
    told = {value for value in known if type(value) is int}
    for size, parts in itertools.product(sorted(complaint.free_sizes), _PARTS):
        rest = given - parts * size
        if size > 1 and rest > 1 and rest in told and (wanted - rest) % parts == 0 and wanted > rest:
            yield from complaint.with_size(size, (wanted - rest) // parts)


def _beside_others(complaint: Complaint, given: int, wanted: int, *, least: int = 1) -> Iterator[State]:
    """A size that the constructor was told, of an input that comes with others of the module's: 13 + 130 -> 3 + 130."""
    told = {value for value in complaint.callee.arguments.values() if type(value) is int}
    for size in sorted(complaint.free_sizes):
        other = size + wanted - given
        if given not in complaint.all_sizes and other in told and other >= least:
            yield from complaint.with_size(size, other)


def _side_by_side(complaint: Complaint, given: int, wanted: int, told: set[int]) -> Iterator[State]:
    """Two inputs laid side by side, 7 + 11 = 18 features, where 144 are wanted: 48 and 96."""
    widths = {part for size in told for part in (size, 2 * size)}
    parts = sorted(widths & {wanted - width for width in widths})  # of whose pairs both are widths
    for one, other in itertools.permutations(sorted(complaint.free_sizes), 2):
        for width in parts if one + other == given else ():
            for state in complaint.with_size(one, width):
                yield from replace(complaint, state=state).with_size(other, wanted - width)
    yield from _beside_states(complaint, given, wanted, parts)


def _beside_states(complaint: Complaint, given: int, wanted: int, widths: list[int]) -> Iterator[State]:
    """The same where both have one size: the first as wide as one, all others as wide as the rest: `input, h1, h2`."""
    several = {n: v for n, v in complaint.state.items() if isinstance(v, TensorSpec)}
    sizes = {spec.shape[-1:] for spec in several.values()}
    if len(several) < 2 or sizes != {(given // 2,)} or given % 2:  # noqa: PLR2004 - two are laid side by side
        return
    first = next(iter(several))
    for width in widths:
        last = {n: width if n == first else wanted - width for n in several}
        wide = {n: spec.resized(spec.rank - 1, last[n]) for n, spec in several.items()}
        yield {**complaint.state, **wide}


def _concatenated(complaint: Complaint, given: int, missing: int) -> Iterator[State]:
    """One of several tensors smaller or larger by what the concatenation has too many or too few.

    Along the axis whose sizes add up to what was given, if there is one. The later tensor first: a skip connection
    follows what it is joined to. Features that were flattened are of no one part; masks and matrices of shares are no
    features.
    """
    if not complaint.says("channels") and any(
        flattened.open_sides(s) for s in specs(list(complaint.state.values()))
    ):
        return
    values = {n: v for n, v in complaint.state.items() if isinstance(v, TensorSpec)}
    names = [name for name, spec in values.items() if not (spec.high == 1 and spec.dtype.is_floating_point)]
    several = [*reversed(names if len(names) > 1 else [])]
    if complaint.says("channels"):  # those that nothing has told yet, of images
        yield from (
            complaint.with_value(
                name, complaint.state[name].resized(1, complaint.state[name].shape[1] + missing)
            )
            for name in several
            if complaint.state[name].rank > _SEQUENCE and 1 in complaint.state[name].free
            if complaint.state[name].shape[1] + missing > 0
        )
    for name in several:
        spec = complaint.state[name]
        for index in sorted(range(1, spec.rank), key=lambda index: _width(complaint, names, index) != given):
            is_open = (
                index in spec.free and "edge" not in name
            )  # what is said of edges comes beside their two ends
            if not is_open and spec.shape[index] + missing > 0:
                yield complaint.with_value(name, spec.resized(index, spec.shape[index] + missing))


def _width(complaint: Complaint, names: list[str], index: int) -> int:
    """Of all these side by side along an axis; 0 where one has no such axis."""
    shapes = [complaint.state[name].shape for name in names]
    return sum(shape[index] for shape in shapes) if all(index < len(shape) for shape in shapes) else 0


def _area(complaint: Complaint, given: int, wanted: int) -> Iterator[State]:
    """Height and width for a number of positions: 11 x 13 = 143 given and 49 wanted is 7 x 7, and 15 is 3 x 5."""
    low = next((side for side in range(math.isqrt(wanted), 1, -1) if wanted % side == 0), 0)
    pairs = itertools.combinations(sorted(complaint.free_sizes), 2)
    for pair in (pair for pair in pairs if low and pair[0] * pair[1] == given):
        for state in complaint.with_size(pair[0], low):
            yield from replace(complaint, state=state).with_size(pair[1], wanted // low)


def reshaped(complaint: Complaint) -> Iterator[State]:
    """Sizes for which a view is possible."""
    match = complaint.says(r"shape '\[([\d, \-]+)\]' is invalid for input of size (\d+)")
    if not match:
        return
    shape = [int(size) for size in match.group(1).split(",")]
    total, product = int(match.group(2)), math.prod(size for size in shape if size > 0)
    if not total:
        return
    if shape[-1] == shape[-2:][0] > 0:  # a grid of cells, as many wide as high: that of a square
        yield complaint.with_specs(_squared)
    yield from flattened.as_wide(complaint, shape, total)
    yield from flattened.laid_out(complaint, shape, total)
    yield from flattened.of_rows(complaint, shape, total)
    if -1 not in shape:
        yield from _fewer_dimensions(complaint, product, total)
        yield from _regrouped(complaint, shape, total)
    free = sorted(complaint.free_sizes, reverse=True)
    for size in [*free, *sorted(complaint.all_sizes - {*free}, reverse=True)]:
        if not size or total % size:
            continue
        rest = total // size
        if -1 in shape:
            step = product // math.gcd(product, rest)
            yield from complaint.with_size(size, step if step > 3 else 8 // max(step, 1) * max(step, 1))  # noqa: PLR2004
        elif (product * size) % total == 0:  # a comment's own number, where no other gives way
            yield from complaint.with_size(size, product * size // total, only_free=size in free)
    for size in free:  # what most numbers divide
        yield from complaint.with_size(size, _EVEN)


def _squared(spec: TensorSpec) -> TensorSpec:
    """An image as wide as it is high, where nothing has fixed that."""
    return flattened.with_frame(spec, spec.shape[2:3] * 2) if spec.rank == _IMAGE else spec


def _fewer_dimensions(complaint: Complaint, product: int, total: int) -> Iterator[State]:
    """Without a last dimension that the view has no room for."""
    for name in complaint.tensors:
        spec = complaint.state[name]
        is_over = isinstance(spec, TensorSpec) and spec.rank > 1 and math.prod(spec.shape) == total
        if is_over and spec.shape[-1] * product == total:
            yield complaint.with_rank(spec.rank - 1, [name])


def _regrouped(complaint: Complaint, shape: list[int], total: int) -> Iterator[State]:
    """Each dimension that the view splits becomes the product of what it is split into: 7 -> 3 * 15, 13 -> 11."""
    for name in complaint.tensors:
        spec = complaint.state[name]
        if not isinstance(spec, TensorSpec) or math.prod(spec.shape) != total:
            continue
        wanted, open_ones = list(shape), []
        for index, size in enumerate(spec.shape):
            if size in wanted:
                wanted.remove(size)
            elif index in spec.free:
                open_ones.append(index)
        if len(open_ones) == 2 and len(wanted) > 1:  # noqa: PLR2004 - more would be guesswork
            for cut in range(len(wanted) - 1, 0, -1):
                first, second = math.prod(wanted[:cut]), math.prod(wanted[cut:])
                changed = spec.resized(open_ones[0], first).resized(open_ones[1], second)
                yield complaint.with_value(name, changed)


def _message_pairs(complaint: Complaint) -> Iterator[Pair]:
    """(given, wanted); where the message doesn't say which is which, the free one gives way, or a multiple of it."""
    yield from directed_pairs(complaint.text)
    marks = complaint.free_sizes & {*PRIMES}
    for a, b in undirected_pairs(complaint.text):
        is_first = a in complaint.free_sizes or (
            b not in complaint.free_sizes and any(a % n == 0 for n in marks)
        )
        yield from ((a, b), (b, a)) if is_first else ((b, a), (a, b))
