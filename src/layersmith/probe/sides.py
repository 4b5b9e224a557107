"""The same inputs with other sides: a square plane made a rectangle, even sides made odd."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from layersmith.probe.inputs import Inputs

IMAGE = 4  # axes: rows, channels and a plane, in either order
ROWS = 3  # axes: rows, steps and features


def stretched(inputs: Inputs, sides: Sequence[int]) -> Inputs | None:
    """The inputs whose planes have equal sides, as the first of `sides` says, with these instead; None if none has."""
    square = (sides[0],) * len(sides)
    found = [_place(tensor, square) for tensor in inputs.tensors()]
    if not any(place is not None for place in found):
        return None

    def wider(tensor: Tensor) -> Tensor:
        place = _place(tensor, square)
        return tensor if place is None else tensor.repeat_interleave(sides[-1] // sides[0], dim=place)

    return inputs.map(wider)


def rectangle(inputs: Inputs) -> Inputs | None:
    """The inputs whose images, of four axes, are twice as wide as high; None where none is a square."""
    images = [tuple(tensor.shape) for tensor in inputs.tensors() if tensor.ndim == IMAGE]
    equal = [one for _, *shape in images for one, other in pairwise(shape) if one == other]
    return stretched(inputs, (equal[0], 2 * equal[0])) if equal else None


def odd(inputs: Inputs) -> Inputs | None:
    """The inputs with images whose sides are odd; None where all are, or there is none."""
    even = [side % 2 == 0 for one in inputs.tensors() if one.ndim == IMAGE for side in one.shape[-2:]]
    return _resized(inputs, lambda side: side + 1 - side % 2) if any(even) else None


def grown(inputs: Inputs, more: int, columns: int | None = None) -> Inputs | None:
    """The inputs with images of so many rows and columns more, equally many if not said; None where there is none."""
    has_images = any(tensor.ndim == IMAGE for tensor in inputs.tensors())
    across = more if columns is None else columns
    return _resized(inputs, lambda side: side + more, lambda side: side + across) if has_images else None


def with_channels(inputs: Inputs, below: int, more: int) -> Iterator[Inputs]:
    """The inputs with so many channels more in one of them that has fewer than `below`, its own once more."""
    for tensor in inputs.tensors():
        if tensor.ndim > ROWS and 0 < tensor.shape[1] < below and tensor.shape[1] + more > 0:
            order = torch.arange(tensor.shape[1] + more) % tensor.shape[1]
            wider = tensor.index_select(1, order)
            yield inputs.map(lambda one, old=tensor, new=wider: new if one is old else one)


def cut(inputs: Inputs, side: int) -> Inputs:
    """The inputs with images of at most so many rows and columns."""
    return inputs.map(lambda tensor: tensor[..., :side, :side] if tensor.ndim == IMAGE else tensor)


def least(inputs: Inputs) -> Inputs | None:
    """The inputs with images of two rows and three columns, and rows of two steps; None where none is larger."""

    def smaller(tensor: Tensor) -> Tensor:
        return (
            tensor[..., :2, :3] if tensor.ndim == IMAGE else tensor[:, :2] if tensor.ndim == ROWS else tensor
        )

    found = inputs.map(smaller)
    return found if [*map(_shape, found.tensors())] != [*map(_shape, inputs.tensors())] else None


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)


def _resized(inputs: Inputs, *sizes: Callable[[int], int]) -> Inputs:
    """The inputs with images that are continued by their own beginning; of rows and columns, or of both."""

    def resized(tensor: Tensor) -> Tensor:
        for axis, size in zip((-2, -1), (sizes[0], sizes[-1]), strict=True) if tensor.ndim == IMAGE else ():
            places = torch.arange(size(tensor.shape[axis])) % tensor.shape[axis]
            tensor = tensor.index_select(axis, places)
        return tensor

    return inputs.map(resized)


def of_axes(inputs: Inputs, count: int) -> Inputs | None:
    """The inputs with `count` axes behind rows and channels, one more or less than they have; None if they have other."""
    now = 5 - count

    def changed(tensor: Tensor) -> Tensor:
        if tensor.ndim != now + 2:
            return tensor
        return tensor[..., 0] if now > count else tensor[..., None].expand(*tensor.shape, tensor.shape[-1])

    is_known = all(tensor.ndim == now + 2 for tensor in inputs.tensors())
    return inputs.map(changed) if is_known else None


def _place(tensor: Tensor, square: tuple[int, ...]) -> int | None:
    """The last of as many axes in a row, after the batch, as have the sides of the square."""
    count, shape = len(square), tuple(tensor.shape)
    starts = [at for at in range(1, len(shape) - count + 1) if shape[at : at + count] == square]
    return starts[0] + count - 1 if len(starts) == 1 else None
