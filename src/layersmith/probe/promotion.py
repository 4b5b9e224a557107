"""Where float32 constants, and casts, turn a half-precision signal into float32."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from layersmith.probe import tree
from layersmith.probe.halves import HALF
from layersmith.probe.operations import Operations
from layersmith.probe.steps import caller


@dataclass(frozen=True, slots=True)
class Promotion:
    """One operation that met a half-precision signal and a float32 tensor that was not made from it, or a cast."""

    operation: str
    file: str
    line: int


class Promotions(Operations):
    """A context that records, in `seen`, where the signal is promoted, and knows which tensors came of it."""

    def __init__(self, signals: Iterable[Tensor]) -> None:
        super().__init__()
        self.alive = [*signals]
        self.signals = {tree.place(tensor) for tensor in self.alive}
        self.wide: set[int] = set()  # float32 because a promotion made them so
        self.casts: dict[int, Promotion] = {}  # float32 because the code says so, and where
        self.seen: list[Promotion] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Do the operation and follow what came of the signal."""
        result = func(*args, **(kwargs or {}))
        operands = [x for x in tree.tensors([*args, *(kwargs or {}).values()]) if x.is_floating_point()]
        made = [x for x in tree.tensors(result) if x.is_floating_point()]
        if any(tree.place(x) in self.signals for x in operands):
            self._follow(func.overloadpacket.__name__, operands, made)
        return result

    def _follow(self, name: str, operands: list[Tensor], made: list[Tensor]) -> None:
        narrow = [x for x in operands if x.dtype in HALF and tree.place(x) in self.signals and x.ndim]
        strange = [x for x in operands if _is_float32(x) and tree.place(x) not in self.signals]
        is_promoted = bool(narrow and strange) and any(_is_float32(x) for x in made)
        if is_promoted:
            self.seen.append(Promotion(name.strip("_"), *caller()))
        is_wide = is_promoted or any(tree.place(x) in self.wide for x in operands)
        cast = self.cast_of(operands)
        is_cast = cast is None and not is_wide and all(x.dtype in HALF for x in operands)
        for tensor in made:
            self.alive.append(tensor)
            self.signals.add(tree.place(tensor))
            if is_wide and _is_float32(tensor):
                self.wide.add(tree.place(tensor))
            elif is_cast and _is_float32(tensor):
                self.casts[tree.place(tensor)] = Promotion(name.strip("_"), *caller())
            elif cast is not None and _is_float32(tensor):
                self.casts.setdefault(tree.place(tensor), cast)

    def cast_of(self, operands: Iterable[Tensor]) -> Promotion | None:
        """The cast that made one of these float32, if one did."""
        found = (self.casts.get(tree.place(x)) for x in operands if _is_float32(x))
        return next((cast for cast in found if cast is not None), None)

    def is_wide(self, tensor: Tensor) -> bool:
        """Whether a tensor is float32 for no other reason than a promotion."""
        return _is_float32(tensor) and tree.place(tensor) in self.wide

    def left_by_a_cast(self, operands: Iterable[Tensor]) -> Promotion | None:
        """The cast that left float32 to an operation which also has halves."""
        floats = [x for x in operands if x.is_floating_point()]
        return self.cast_of(floats) if any(x.dtype in HALF for x in floats) else None


class Refused(TorchFunctionMode):
    """A context that keeps, in `operands`, the tensors of the innermost operation that raised."""

    def __init__(self) -> None:
        super().__init__()
        self.operands: list[Tensor] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Do the operation, and keep its operands where it fails."""
        try:
            return func(*args, **(kwargs or {}))
        except Exception:
            self.operands = self.operands or [*tree.tensors([*args, *(kwargs or {}).values()])]
            raise


def _is_float32(tensor: Tensor) -> bool:
    return tensor.dtype is torch.float32 and tensor.ndim > 0
