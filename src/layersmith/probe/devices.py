"""Which tensors stay behind when a module moves to another device: seen on `meta`, without that device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.probe import tree
from layersmith.probe.inputs import Inputs
from layersmith.probe.operations import Operations
from layersmith.probe.surroundings import preserved

aten = torch.ops.aten
CROSSING = {aten.copy_, aten._to_copy}  # noqa: SLF001 - ATen's name
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


class _Watch(Operations):
    """Sees every operation; notes the given tensors that meet one of another device, and lets it pass."""

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        super().__init__()
        self.alive = [*tensors]  # keeps storages from being reused while they are followed
        self.origins = {_storage(tensor): {id(tensor)} for tensor in self.alive}
        self.met: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Do the operation, on `meta` if any of its operands lies there."""
        operands = [*_operands(func.overloadpacket, args, kwargs or {})]
        origins = {one for tensor in operands for one in self.origins.get(_storage(tensor), ())}
        if func.overloadpacket in CROSSING or all(_is_here(tensor) for tensor in operands):
            result = func(*args, **(kwargs or {}))
            self._follow(result, origins)
            return result
        self.met |= origins if any(tensor.device.type == "meta" for tensor in operands) else set()
        return func(*_moved(args), **_moved(dict(kwargs or {})))

    def _follow(self, result: object, origins: set[int]) -> None:
        for tensor in tree.tensors(result) if origins else ():
            if _is_here(tensor):
                self.alive.append(tensor)
                self.origins[_storage(tensor)] = origins


def _operands(packet: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[Tensor]:
    """The tensors that must lie on one device: not numbers, nor the indices, which may stay on the CPU."""
    must = (args[0], *args[2:]) if packet in INDEXING else args
    return (tensor for tensor in tree.tensors([*must, *kwargs.values()]) if tensor.ndim)


def _moved(tree_: Any) -> Any:
    return tree.map_tensors(lambda tensor: tensor.to("meta") if _is_here(tensor) else tensor, tree_)


def _is_here(tensor: Tensor) -> bool:
    return tensor.device.type != "meta"


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr() if _is_here(tensor) else -1
