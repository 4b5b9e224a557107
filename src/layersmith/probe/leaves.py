"""The leaf tensors that an output depends on, read off autograd's graph: nothing is computed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

STEPS_BACK = 12  # operations before a tensor, in which its layer is looked for
DEPTH = 4  # of plain objects in an output: an Independent of a OneHotCategorical, which holds a Categorical


def nodes_behind(outputs: Iterable[Tensor]) -> set[Any]:
    """Every node of the graphs behind these tensors; ask it no more than its type when they are gone."""
    outputs = [*outputs]  # before torch 2.13 a node of an autograd.Function lives only as long as they do
    waiting = [output.grad_fn for output in outputs if output.grad_fn is not None]
    seen: set[Any] = set(waiting)
    while waiting:
        more = {node for node, _ in waiting.pop().next_functions if node is not None} - seen
        seen |= more
        waiting += more
    return seen


def leaves_behind(outputs: Iterable[Tensor]) -> dict[int, Tensor]:
    """The leaves to which a gradient would flow from these tensors, by their ids; an output may be one itself."""
    outputs = [*outputs]
    own = [output for output in outputs if output.requires_grad and output.grad_fn is None]
    found = [getattr(node, "variable", None) for node in nodes_behind(outputs)]
    return {id(leaf): leaf for leaf in (*own, *found) if leaf is not None}


def functions_of(leaf: Tensor, outputs: Iterable[Tensor]) -> list[type]:
    """The `autograd.Function`s behind these tensors that were given a leaf itself."""
    return [
        node._forward_cls  # noqa: SLF001 - the only link from a node to its class
        for node in nodes_behind(outputs)
        if hasattr(node, "_forward_cls")
        and any(getattr(one, "variable", None) is leaf for one, _ in node.next_functions)
    ]


def nearest(tensor: Tensor, module: nn.Module) -> list[str]:
    """The names of the parameters that went into a tensor last: those of the layer before it, bias first."""
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    waiting = _before([tensor.grad_fn])
    for _ in range(STEPS_BACK):
        found = [names.get(id(getattr(node, "variable", None)), "") for node in (*waiting, *_before(waiting))]
        if any(found):
            return [name for name in dict.fromkeys(found) if name]
        waiting = _before(waiting)
    return []


def _before(nodes: Iterable[Any]) -> list[Any]:
    return [
        *{
            node: None
            for one in nodes
            if one is not None
            for node, _ in one.next_functions
            if node is not None
        }
    ]


def tensors_within(value: object, *, depth: int = DEPTH) -> list[Tensor]:
    """Every tensor of an output, those in the attributes of plain objects included."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        held = [*value.values()]
    elif isinstance(value, list | tuple):
        held = [*value]
    else:
        held, depth = [*getattr(value, "__dict__", {}).values()], depth - 1
    return [tensor for item in held for tensor in tensors_within(item, depth=depth)] if depth else []
