"""Which argument of `forward` each input tensor belongs to."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from torch import Tensor, nn

from layersmith.probe import tree
from layersmith.probe.inputs import Inputs


def named(module: nn.Module, inputs: Inputs) -> Iterator[tuple[str, str, Tensor]]:
    """Path, argument and tensor of every input: `input[0]`, "x" and so on; in the order of `named_tensors`."""
    positional = [*_positional(module), *("" for _ in inputs.args)]
    for index, value in enumerate(inputs.args):
        for path, tensor in tree.named_tensors(value, name=f"input[{index}]"):
            yield path, positional[index], tensor
    for key, value in inputs.kwargs.items():
        for path, tensor in tree.named_tensors(value, name=key):
            yield path, key, tensor


def spelled(path: str, name: str) -> str:
    """A tensor as the code of forward would write it: `x[1]` for `input[0][1]` of the argument x."""
    inner = path.partition("]")[2] if path.startswith("input[") else path.removeprefix(name)
    return f"{name}{inner}" if name else path


def replaced(inputs: Inputs, new: dict[int, Tensor]) -> Inputs:
    """The same call with some tensors replaced, by the ids of the old ones."""
    return inputs.map(lambda tensor: new.get(id(tensor), tensor))


def unset(module: nn.Module, inputs: Inputs) -> set[str]:
    """The arguments of forward that are None in a call, by default or as given."""
    given: dict[str, object] = dict(zip(_positional(module), inputs.args, strict=False))
    given.update(inputs.kwargs)
    taken = inspect.signature(module.forward).parameters
    return {name for name, one in taken.items() if given.get(name, one.default) is None}


def _positional(module: nn.Module) -> list[str]:
    try:
        found = inspect.signature(module.forward).parameters.values()
    except (TypeError, ValueError):
        return []
    return [one.name for one in found if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
