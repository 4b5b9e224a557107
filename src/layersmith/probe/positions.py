"""Whole numbers counted in half precision, as positions are, and where their rounding comes to bear."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.probe import tree
from layersmith.probe.halves import HALF, QuickHalves
from layersmith.probe.inputs import Inputs
from layersmith.probe.operations import Operations
from layersmith.probe.steps import caller
from layersmith.probe.surroundings import preserved

TURNS = frozenset({"sin", "cos"})  # what matters of an angle is how far it is, not by which share it is off
SUMS = frozenset({"add", "sub", "rsub"})
ORDERS = frozenset({"lt", "le", "gt", "ge"})  # of positions with positions, which come first
SCALES = SUMS | {"mul", "div", "neg", "abs", "mm", "bmm", "mv"}
MOVES = frozenset({"_to_copy", "clone", "cat", "stack", "repeat", "flip", "index_select", "constant_pad_nd"})


@dataclass(frozen=True, slots=True)
class Origin:
    """Where whole numbers were made in half precision, or cast to it, and how many."""

    file: str
    line: int
    count: int


@dataclass(frozen=True, slots=True)
class Use:
    """An operation to which it matters how far such a number, or a multiple of it, is off."""

    origin: Origin
    operation: str
    largest: float  # number that it got

    def grows_into(self, other: Use) -> bool:
        """Whether it is the same use in a call of twice as many steps, with larger numbers: they are not normalised."""
        is_same = (self.origin.line, self.operation) == (other.origin.line, other.operation)
        is_more = other.origin.count > self.origin.count
        return is_same and is_more and other.largest * 2 > self.largest * 3


def uses(module: nn.Module, inputs: Inputs) -> list[Use]:
    """Every such use in one call of a module of half precision; may raise."""
    held = inputs.clone()
    watch = _Watch(held.tensors())
    with preserved(seed=0), torch.no_grad(), QuickHalves(), watch:
        module(*held.args, **held.kwargs)
    return watch.uses


class _Watch(Operations):
    def __init__(self, signals: Iterable[Tensor]) -> None:
        super().__init__()
        self.alive = [*signals]  # so that no storage is used twice
        self.signals = {tree.place(tensor) for tensor in self.alive}
        self.exact: set[int] = set()  # whole numbers as they came from arange, or times a number
        self.rounded: dict[int, Origin] = {}
        self.uses: list[Use] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Do the operation and follow what is counted."""
        operands = [*tree.tensors([*args, *(kwargs or {}).values()])]
        name = func.overloadpacket.__name__.rstrip("_")
        counted = next((x for x in operands if tree.place(x) in self.rounded), None)
        is_signal = any(tree.place(x) in self.signals for x in operands)
        are_counted = len(operands) > 1 and all(tree.place(x) in self.rounded for x in operands)
        if counted is not None and (
            name in TURNS or (name in SUMS and is_signal) or (name in ORDERS and are_counted)
        ):
            origin = self.rounded[tree.place(counted)]
            self.uses.append(Use(origin, name, float(counted.abs().max()) if counted.numel() else 0.0))
        result = func(*args, **(kwargs or {}))
        for made in tree.tensors(result):
            self.alive.append(made)
            if is_signal:
                self.signals.add(tree.place(made))
            elif counted is not None:
                if name in SCALES | MOVES and made.is_floating_point():
                    self.rounded[tree.place(made)] = self.rounded[tree.place(counted)]
            else:
                self._count(name, operands, made)
        return result

    def _count(self, name: str, operands: list[Tensor], made: Tensor) -> None:
        """Note what arange gives, also times a number, and in which dtype."""
        is_exact = any(tree.place(x) in self.exact for x in operands)
        is_alone = sum(x.numel() > 1 for x in operands) == 1
        if name != "arange" and not (is_exact and (name in MOVES or (name in SCALES and is_alone))):
            return
        if made.dtype in HALF:
            self.rounded[tree.place(made)] = Origin(*caller(), made.numel())
        else:
            self.exact.add(tree.place(made))


def doubled(inputs: Inputs, size: int, rows: int) -> Inputs:
    """The same call with every axis of that size, but that of the rows, twice as long."""

    def longer(tensor: Tensor) -> Tensor:
        axes = [axis for axis, n in enumerate(tensor.shape) if n == size and axis != rows]
        return tensor.repeat([2 if axis in axes else 1 for axis in range(tensor.ndim)]) if axes else tensor

    return inputs.map(longer)
