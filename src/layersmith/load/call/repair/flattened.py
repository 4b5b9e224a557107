"""Sides of an image, or a length, whose flattened features are as many as a linear map takes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from layersmith.load.call.callee import State
from layersmith.load.call.repair.complaint import Complaint
from layersmith.load.values import TensorSpec, specs

_MATRIX, _SEQUENCE, _IMAGE = 2, 3, 4  # ranks
_LARGEST_DIVISOR = 256
_LARGEST_SIDE = 300
_USUAL_SIDES = (28, 32, 64)  # of data sets
_USUAL_FRAMES = {
    4: ((480, 640), (240, 320), (120, 160), (60, 80), (256, 128), (128, 64), (64, 128), (66, 200)),
    5: ((16, 112, 112), (16, 128, 128), (8, 112, 112), (32, 112, 112), (16, 224, 224), (16, 64, 64)),
}  # by rank, of cameras, pedestrians and clips
_NEAR = 1.3  # a ratio of features


def whole(complaint: Complaint, given: int, wanted: int) -> Iterator[State]:
    """Sides of an image, or a length, that is flattened as it is, maybe beside other features: 28 x 28 + 10."""
    for name in complaint.tensors:
        spec = complaint.state[name]
        if not isinstance(spec, TensorSpec) or spec.rank not in (_SEQUENCE, _IMAGE):
            continue
        beside = given - math.prod(spec.shape[1:])
        if not 0 <= beside < min(given, wanted):
            continue
        if spec.rank == _SEQUENCE:
            is_even = 1 in spec.free and (wanted - beside) % spec.shape[2] == 0
            found = [spec.resized(1, (wanted - beside) // spec.shape[2])] if is_even else []
        else:
            found = list(_squares(spec, wanted - beside))
        yield from (complaint.with_value(name, other) for other in found)


def _squares(spec: TensorSpec, area: int) -> Iterator[TensorSpec]:
    for channels in dict.fromkeys((spec.shape[1], 1, 3) if 1 in spec.free else (spec.shape[1],)):
        side = math.isqrt(area // channels)
        if channels * side * side == area and {2, 3} <= spec.free:
            yield spec.resized(1, channels).resized(2, side).resized(3, side)


def framed(complaint: Complaint, given: int, wanted: int) -> Iterator[State]:
    """Frames that are no squares, where these hold about as many features as are wanted."""
    for spec in specs(list(complaint.state.values())):
        for frame in _USUAL_FRAMES.get(spec.rank, ()) if len(open_sides(spec)) == spec.rank - 2 else ():
            features = given * math.prod(frame) / math.prod(spec.shape[2:])
            if 1 / _NEAR < features / wanted < _NEAR:
                yield complaint.with_specs(lambda spec, frame=frame: with_frame(spec, frame))  # type: ignore[misc]


def with_frame(spec: TensorSpec, frame: tuple[int, ...]) -> TensorSpec:
    """The same with these sides, as far as nothing has fixed them, where it has so many."""
    for index, side in enumerate(frame, start=2) if len(frame) == spec.rank - 2 else ():
        spec = spec.resized(index, side, fix=False) if index in spec.free else spec
    return spec


def open_sides(spec: TensorSpec) -> list[int]:
    """The spatial dimensions that nothing has fixed."""
    return [index for index in range(2, spec.rank) if index in spec.free]


def flattened(complaint: Complaint, given: int, wanted: int) -> Iterator[State]:
    """Sides of an image whose flattened features were `given` at the present sides and shall be `wanted`.

    Pooling and strides divide each side by a power of two: `wanted` = channels x (side / divisor) squared.
    """
    sides = [spec.shape[-1] for spec in specs(list(complaint.state.values())) if spec.rank == 4]  # noqa: PLR2004
    for channels in (c for c in range(1, wanted + 1) if wanted % c == 0 and sides):
        root = math.isqrt(wanted // channels)
        if root * root * channels != wanted or given % channels:
            continue
        for divisor in (1, 2, 4, 8, 16, 32):
            if _LARGEST_DIVISOR >= root * divisor > 1 and given == channels * (sides[0] // divisor) ** 2:
                side = root * divisor
                yield complaint.with_specs(lambda spec, side=side: with_sides(spec, side))  # type: ignore[misc]


def laid_out(complaint: Complaint, shape: list[int], total: int) -> Iterator[State]:
    """Sides of an image whose map a view lays out by channels and positions: `x.view(-1, 128, 32 * 32)`.

    At the present sides the map has `total` values; each of its sides is that of the image, halved so many times.
    """
    if len(shape) != _SEQUENCE:
        return
    images = [
        spec for spec in specs(list(complaint.state.values())) if spec.rank == _IMAGE and open_sides(spec)
    ]
    for spec, (channels, area), divisor in itertools.product(
        images, (shape[1:], shape[:0:-1]), (1, 2, 4, 8, 16, 32)
    ):
        root = math.isqrt(max(area, 0))
        sizes = {
            channels * math.prod(side // divisor for side in spec.shape[2:]),
            channels * math.prod(-(-side // divisor) for side in spec.shape[2:]),
        }
        if root * root == area and root * divisor <= _LARGEST_SIDE and total // spec.shape[0] in sizes:
            side = root * divisor
            yield complaint.with_specs(lambda spec, side=side: with_sides(spec, side))  # type: ignore[misc]


def of_rows(complaint: Complaint, shape: list[int], total: int) -> Iterator[State]:
    """Other sides where each row's map is flattened, `x.view(-1, 320)`: the rows stay as many as they were."""
    images = [one for one in specs(list(complaint.state.values())) if open_sides(one)]
    if len(shape) != _MATRIX or shape[0] != -1 or len(images) != 1 or total % images[0].shape[0]:
        return
    given = total // images[0].shape[0]
    yield from flattened(complaint, given, shape[1])
    for side in _USUAL_SIDES if images[0].rank == _IMAGE else ():
        yield complaint.with_specs(lambda spec, side=side: with_sides(spec, side))  # type: ignore[misc]
    yield from framed(complaint, given, shape[1])


def with_sides(spec: TensorSpec, side: int) -> TensorSpec:
    """The same with other sides, as far as nothing has fixed them."""
    return with_frame(spec, (side,) * (spec.rank - 2))


def as_wide(complaint: Complaint, shape: list[int], total: int) -> Iterator[State]:
    """As many features as the view keeps whole, of the one of several inputs that it is of: `x.view(-1, n, width)`."""
    several = [name for name in complaint.blamed if isinstance(complaint.state[name], TensorSpec)]
    is_kept = shape[0] == -1 and shape[-1] > 1 and shape.count(-1) == 1 and len(complaint.tensors) > 1
    for name in several if is_kept else ():
        spec = complaint.state[name]
        if math.prod(spec.shape) == total and spec.rank > 1 and spec.shape[-1] != shape[-1]:
            yield complaint.with_value(name, spec.resized(spec.rank - 1, shape[-1]))
