"""Which tensors stay behind when a module moves to another device: seen on `meta`, without that device."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.probe import source, tree
from layersmith.probe.inputs import Inputs
from layersmith.probe.operations import Operations
from layersmith.probe.steps import caller
from layersmith.probe.surroundings import preserved

aten = torch.ops.aten
CROSSING = {aten.copy_, aten._to_copy}  # noqa: SLF001 - ATen's name
KEEPS_CPU = {aten._pack_padded_sequence, aten.tensor_split}  # noqa: SLF001 - their lengths have to be on the CPU
SPELLED = {aten.lift_fresh: "tensor"}  # as people write it
INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}


@dataclass(frozen=True, slots=True)
class Meeting:
    """What one call on another device showed."""

    left_behind: frozenset[int]  # the ids of those given tensors that met a moved one
    is_complete: bool  # whether forward ran to its end; what it needs values for does not


def left_behind(module: nn.Module, inputs: Inputs, tensors: Iterable[Tensor]) -> Meeting:
    """Move the module and its inputs to `meta`, call it, and see which of these tensors, left here, they meet.

    Also seen is a tensor that was computed from one of them before it met. The module is moved for good.
    """
    watch = _Watch(tensors)
    moved = inputs.map(lambda tensor: tensor.to("meta"))
    try:
        module.to("meta")
        with preserved(), watch:
            moved.call(module)
    except Exception:  # noqa: BLE001 - data-dependent code cannot run on meta, whatever it raises
        return Meeting(frozenset(watch.met), is_complete=False)
    return Meeting(frozenset(watch.met), is_complete=True)


def is_of_the_script(statement: list[ast.stmt], file: str) -> bool:
    """Whether it names a device that its file sets once for all: `device = "cuda" if is_available() else "cpu"`."""
    outside = [
        one for one in source.tree_of(file).body if not isinstance(one, source.Function | ast.ClassDef)
    ]
    imported = {a.asname or a.name for one in outside if isinstance(one, ast.ImportFrom) for a in one.names}
    return bool((_names(outside, ast.Store) | imported) & _names(statement, ast.Load))


def _names(statements: list[ast.stmt], context: type[ast.expr_context]) -> set[str]:
    """The names of devices that are set there, or read."""
    named = (part for one in statements for part in ast.walk(one) if isinstance(part, ast.Name))
    return {
        one.id for one in named if isinstance(one.ctx, context) and re.fullmatch(r"(?i)_?dev(?:ice)?", one.id)
    }


@dataclass(frozen=True, slots=True)
class Stranger:
    """A tensor that forward made on the CPU, and that met a moved one."""

    operation: str
    file: str
    line: int


def strangers(
    module: nn.Module, inputs: Inputs, known: Iterable[Tensor]
) -> tuple[list[Stranger], Exception | None]:
    """The same, for tensors made during the call, and the error in which it ended.

    Left out are those computed from the given ones.
    """
    watch = _Watch(known)
    moved = inputs.map(lambda tensor: tensor.to("meta"))
    error = None
    try:
        module.to("meta")  # an override may ask for values
        with preserved(), torch.no_grad(), watch:
            moved.call(module)
    except Exception as raised:  # noqa: BLE001 - data-dependent code cannot run on meta, whatever it raises
        error = raised
    return [*dict.fromkeys(watch.strangers)], error


class _Watch(Operations):
    """Sees every operation; notes the given tensors that meet one of another device, and lets it pass."""

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        super().__init__()
        self.alive = [*tensors]  # keeps storages from being reused while they are followed
        self.origins = {_storage(tensor): {id(tensor)} for tensor in self.alive}
        self.met: set[int] = set()
        self.made: dict[int, Stranger] = {}
        self.strangers: list[Stranger] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Do the operation, on `meta` if any of its operands lies there."""
        operands = [*_operands(func.overloadpacket, args, kwargs or {})]
        origins = {one for tensor in operands for one in self.origins.get(_storage(tensor), ())}
        if func.overloadpacket in CROSSING or all(_is_here(tensor) for tensor in operands):
            result = func(*args, **(kwargs or {}))
            self._follow(result, origins)
            self._remember(func, operands, result)
            return result
        self._note(func.overloadpacket, operands)
        self.met |= origins if any(tensor.device.type == "meta" for tensor in operands) else set()
        return func(*_moved(args), **_moved(dict(kwargs or {})))

    def _follow(self, result: object, origins: set[int]) -> None:
        for tensor in tree.tensors(result) if origins else ():
            if _is_here(tensor):
                self.alive.append(tensor)
                self.origins[_storage(tensor)] = origins

    def _remember(self, func: Any, operands: list[Tensor], result: object) -> None:
        """Where a tensor was made: by a factory, or from what was made."""
        before = next((self.made[_storage(x)] for x in operands if _storage(x) in self.made), None)
        for tensor in tree.tensors(result):
            if _is_here(tensor) and _storage(tensor) not in self.made:
                name = SPELLED.get(func.overloadpacket, func.overloadpacket.__name__.strip("_"))
                self.alive.append(tensor)
                self.made[_storage(tensor)] = before or Stranger(name, *caller())

    def _note(self, packet: Any, operands: list[Tensor]) -> None:
        if packet in KEEPS_CPU or not any(not _is_here(tensor) for tensor in operands):
            return
        here = (tensor for tensor in operands if _is_here(tensor) and _storage(tensor) not in self.origins)
        self.strangers += [self.made[_storage(tensor)] for tensor in here if _storage(tensor) in self.made]


def _operands(packet: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[Tensor]:
    """The tensors that must lie on one device: not numbers, nor the indices, which may stay on the CPU."""
    must = (args[0], *args[2:]) if packet in INDEXING else args
    return (tensor for tensor in tree.tensors([*must, *kwargs.values()]) if tensor.ndim)


def _moved(tree_: Any) -> Any:
    return tree.map_tensors(lambda tensor: tensor.to("meta") if _is_here(tensor) else tensor, tree_)


def _is_here(tensor: Tensor) -> bool:
    return tensor.device.type != "meta"


def _storage(tensor: Tensor) -> int:
    return tree.place(tensor) if _is_here(tensor) else -1
