"""Operations that broadcast a batch against itself: (N, 1) with (N) becomes (N, N)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from layersmith.probe import tree
from layersmith.probe.inputs import Inputs
from layersmith.probe.steps import caller
from layersmith.probe.surroundings import preserved

Shape = tuple[int, ...]
COMBINES = frozenset(
    (
        "add sub mul div true_divide truediv pow radd rsub rmul rtruediv iadd isub imul maximum minimum "
        "mse_loss l1_loss smooth_l1_loss huber_loss"
    ).split()
)


@dataclass(frozen=True, slots=True)
class Square:
    """One operation that made a table of rows by rows from two operands that each have the rows once."""

    operation: str
    shapes: tuple[Shape, Shape]
    result: Shape
    are_inputs: bool  # whether both operands are arguments of forward as they came, or views of them
    lacks_axis: bool  # whether the one with fewer axes is, and the other has an axis of one for it: (N, 1, D)
    file: str
    line: int

    @property
    def scales_channels(self) -> bool:
        """Whether one is a number for each channel of an image, (N, C, 1, 1), and the other is (N, C)."""
        fewer, more = sorted(self.shapes, key=len)
        return more[: len(fewer)] == fewer and more[len(fewer) :] in ((1, 1), (1, 1, 1))

    def is_like(self, other: Square) -> bool:
        """Whether it is the same operation, in a call with another batch."""
        return (self.operation, self.file, self.line) == (other.operation, other.file, other.line)


def squares(module: nn.Module, inputs: Inputs, size: int) -> list[Square]:
    """Every such operation of one call, for a batch of `size` rows."""
    held = inputs.clone()
    watch = _Watch(size, {tree.place(tensor) for tensor in held.tensors()})
    with preserved(seed=0), watch:
        module(*held.args, **held.kwargs)
    return watch.found


class _Watch(TorchFunctionMode):
    def __init__(self, size: int, inputs: set[int]) -> None:
        super().__init__()
        self.size, self.inputs = size, inputs
        self.found: list[Square] = []
        self.spread: dict[int, Tensor] = {}  # made wider by `unsqueeze` or `[None]`: pairs are meant

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Do the operation and look at the shapes."""
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").strip("_")
        if isinstance(result, Tensor):
            self._follow(name, args, result)
            two = [value for value in (*args, *(kwargs or {}).values()) if isinstance(value, Tensor)][:2]
            if name in COMBINES and len(two) == 2 and self._is_square(*two):  # noqa: PLR2004 - both operands
                self._note(name, *two)
        return result

    def _follow(self, name: str, args: tuple[Any, ...], result: Tensor) -> None:
        is_spread = name == "unsqueeze" or (name == "getitem" and _adds_axis(args[1]))
        kept = any(id(x) in self.spread and x.shape == result.shape for x in args if isinstance(x, Tensor))
        if is_spread or kept:
            self.spread[id(result)] = result

    def _is_square(self, a: Tensor, b: Tensor) -> bool:
        if a.ndim == b.ndim or id(a) in self.spread or id(b) in self.spread or tree.place(a) == tree.place(b):
            return False
        rank = max(a.ndim, b.ndim)
        places = [_places(tensor.shape, self.size, rank) for tensor in (a, b)]
        return all(len(one) == 1 for one in places) and places[0] != places[1]

    def _note(self, name: str, a: Tensor, b: Tensor) -> None:
        rank = max(a.ndim, b.ndim)
        padded = [(1,) * (rank - tensor.ndim) + tuple(tensor.shape) for tensor in (a, b)]
        result = tuple(max(pair) for pair in zip(*padded, strict=True))
        are_inputs = {tree.place(a), tree.place(b)} <= self.inputs
        fewer, more = sorted((a, b), key=lambda tensor: tensor.ndim)
        lacks_axis = tree.place(fewer) in self.inputs and 1 in more.shape[:-1]
        shapes = (tuple(a.shape), tuple(b.shape))
        self.found.append(Square(name, shapes, result, are_inputs, lacks_axis, *caller()))


def _places(shape: Shape, size: int, rank: int) -> list[int]:
    return [axis + rank - len(shape) for axis, length in enumerate(shape) if length == size]


def _adds_axis(index: object) -> bool:
    return index is None or (isinstance(index, tuple) and any(one is None for one in index))
