"""Where forward leaves autograd: detach(), .data, item(), numpy() of a tensor that carries a gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from layersmith.probe import leaves
from layersmith.probe.inputs import Inputs
from layersmith.probe.modes import in_mode
from layersmith.probe.rehearsal import differentiable
from layersmith.probe.steps import caller
from layersmith.probe.surroundings import preserved

WAYS = {
    "detach": "detach",
    "detach_": "detach",
    "item": "item",
    "tolist": "item",
    "__float__": "item",
    "numpy": "numpy",
    "__array__": "numpy",
}


_DATA: Any = Tensor.data.__get__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Escape:
    """One such operation in the user's code."""

    way: str  # "detach", "data", "item", "numpy"
    file: str
    line: int
    leaves: frozenset[
        int
    ]  # the ids of the parameters and inputs behind the tensor; empty if it carries no gradient
    is_followed: bool  # whether the tensor carried a gradient


@dataclass(frozen=True, slots=True)
class Run:
    """What one call in train mode showed."""

    escapes: list[Escape]
    reached: frozenset[int]  # the ids of the leaves behind the output


def escapes(module: nn.Module, inputs: Inputs, *, seed: int) -> Run:
    """Call a module, every floating input wanting a gradient; what it does under `no_grad` is its own business."""
    watch = _Watch()
    in_mode(module, training=True)
    with preserved(seed=seed), torch.enable_grad(), watch:
        output = _called(module, inputs)
    found = leaves.leaves_behind(leaves.tensors_within(output))
    return Run(watch.seen, frozenset(found))


def _called(module: nn.Module, inputs: Inputs) -> Any:
    given = differentiable(inputs)
    try:
        return module(*given.args, **given.kwargs)
    except RuntimeError:  # an operation without a derivative for one of them, as a loss for its target
        return inputs.call(module)


class _Watch(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Escape] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Note the operation if it is one of those, then do it."""
        way = WAYS.get(getattr(func, "__name__", ""), "data" if func == _DATA else "")
        if way and torch.is_grad_enabled() and args and isinstance(args[0], Tensor):
            self._note(way, args[0])
        return func(*args, **(kwargs or {}))

    def _note(self, way: str, tensor: Tensor) -> None:
        file, line = caller()
        is_followed = tensor.requires_grad
        if file and tensor.is_floating_point() and (is_followed or way == "numpy"):
            behind = frozenset(leaves.leaves_behind([tensor])) if is_followed else frozenset()
            self.seen.append(Escape(way, file, line, behind, is_followed))
