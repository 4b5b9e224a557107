"""Two training steps on one module: whether the second reaches into the graph of the first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.probe import leaves, tree
from layersmith.probe.inputs import Inputs
from layersmith.probe.registration import OWN
from layersmith.probe.surroundings import preserved

_RAISED = "backward through the graph a second time"


@dataclass(frozen=True, slots=True)
class Kept:
    """An attribute that holds a tensor with its graph."""

    module: str  # path of the submodule
    attribute: str

    @property
    def path(self) -> str:
        """As in source, from the root: `cell.hidden`."""
        return f"{self.module}.{self.attribute}" if self.module else self.attribute


@dataclass(frozen=True, slots=True)
class Steps:
    """How the second step went."""

    error: str  # what it raised, when the graph of the first was gone
    kept: tuple[Kept, ...]  # the attributes through which it was reached


def twice(module: nn.Module, inputs: Inputs, *, seed: int, is_leaf: bool = True) -> Steps | None:
    """Take two steps; None where already the first cannot be taken. The module is changed for good.

    With `is_leaf=False` each step's floating inputs come with a graph, as from a layer before.
    """
    with preserved(seed=seed), torch.enable_grad():
        try:
            _backward(_called(module, inputs, is_leaf=is_leaf))
        except Exception:  # noqa: BLE001 - whatever it is, it is another question
            return None
        held = {kept: leaves.nodes_behind(tensors) for kept, tensors in _holding(module)}
        if not held:
            return Steps("", ())
        try:
            output = _called(module, inputs, is_leaf=is_leaf)
        except Exception:  # noqa: BLE001 - as above
            return None
        behind = leaves.nodes_behind(one for one in leaves.tensors_within(output))
        kept = tuple(one for one, nodes in held.items() if _inner(nodes) & behind)
        try:
            _backward(output)
        except RuntimeError as error:
            if _RAISED in str(error):
                return Steps("Trying to backward through the graph a second time", kept)
    return Steps("", kept)


def _called(module: nn.Module, inputs: Inputs, *, is_leaf: bool) -> Any:
    given = inputs.clone() if is_leaf else inputs.clone().map(_behind_a_layer)
    return module(*given.args, **given.kwargs)


def _behind_a_layer(tensor: Tensor) -> Tensor:
    """The same numbers with a graph that is gone after one backward: a product keeps its factors."""
    if not tensor.is_floating_point():
        return tensor
    return tensor.detach().requires_grad_() * torch.ones_like(tensor, requires_grad=True)


def _backward(output: object) -> None:
    tree.total(one for one in leaves.tensors_within(output) if one.requires_grad).backward()


def _holding(module: nn.Module) -> Iterator[tuple[Kept, list[Tensor]]]:
    for path, part in module.named_modules():
        for name, value in vars(part).items():
            tensors = (
                [one for one in tree.tensors(value) if one.grad_fn is not None] if name not in OWN else []
            )
            if tensors:
                yield Kept(path, name), tensors
        for name, buffer in part.named_buffers(recurse=False):
            if buffer.grad_fn is not None:
                yield Kept(path, name), [buffer]


def _inner(nodes: set[Any]) -> set[Any]:
    """Without the accumulators of the parameters, which live as long as these."""
    return {node for node in nodes if not hasattr(node, "variable")}
