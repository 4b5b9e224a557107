"""Blocks of a layer's features that no output depends on, though others of the same layer count."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from layersmith.probe import arguments, closeness, influence, leaves, reach, rehearsal, source
from layersmith.probe.inputs import Inputs
from layersmith.probe.surroundings import preserved

LAST = (nn.Linear, nn.LayerNorm, nn.Embedding)  # their features lie on the last axis
SECOND = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.modules.batchnorm._BatchNorm, nn.GroupNorm)  # noqa: SLF001 - no public base
PARTS = (2, 3, 4, 5, 6)  # into how many equal parts code cuts the features of a layer

Blocks = dict[str, slice]


def live(module: nn.Module, inputs: Inputs, *, seed: int) -> dict[str, Tensor] | None:
    """Which features of each layer a gradient reaches; None if the call raises or nothing carries a gradient."""
    found: dict[str, Tensor] = {}

    def note(path: str, axis: int, output: Tensor) -> None:
        def keep(gradient: Tensor) -> None:
            others = [a for a in range(gradient.ndim) if a != axis % gradient.ndim]
            alive = (gradient != 0).any(others) if others else gradient != 0
            found[path] = found[path] | alive if path in found else alive

        if output.requires_grad:
            output.register_hook(keep)

    with preserved(seed=seed), torch.enable_grad(), _watched(module, note):
        try:
            output = inputs.call(module)
            ends = [one for one in (*leaves.tensors_within(output), *reach.kept(module)) if one.requires_grad]
            rehearsal.backward(ends, seed=seed)
        except Exception:  # noqa: BLE001 - a mode may ask for more, and other inputs need not be accepted
            return None
    return found


def dead(alive: dict[str, Tensor]) -> Blocks:
    """The layers of whose features one block of several equal ones is dead, and all others are alive."""
    found = ((path, _block(features)) for path, features in alive.items())
    return {path: block for path, block in found if block is not None}


def _block(alive: Tensor) -> slice | None:
    size, index = len(alive), (~alive).nonzero().flatten()
    width = len(index)
    is_part = width > 1 and any(width * parts == size for parts in PARTS)
    if not is_part or int(index[-1] - index[0]) != width - 1 or int(index[0]) % width:
        return None
    return slice(int(index[0]), int(index[-1]) + 1)


def matters(call: Callable[[], Any], module: nn.Module, path: str, block: slice, *, seed: int) -> bool:
    """Whether any output moves when that block of a layer's features is something else."""
    before = [*leaves.tensors_within(call())]
    axis = _axis(module.get_submodule(path))

    def other(_part: nn.Module, _args: Any, output: Tensor) -> Tensor:
        new = output.clone()
        old = new.narrow(axis, block.start, block.stop - block.start)
        old.copy_(influence.loud_like(old))
        return new

    hook = module.get_submodule(path).register_forward_hook(other)
    try:
        with preserved(seed=seed), torch.no_grad():
            return bool(closeness.gaps(before, [*leaves.tensors_within(call())]))
    finally:
        hook.remove()


def holder(root: nn.Module, path: str) -> tuple[nn.Module, str]:
    """The module of a class that is not torch's above a layer, and its attribute in which the layer is."""
    names = path.split(".")
    for depth in reversed(range(len(names))):
        above = root.get_submodule(".".join(names[:depth]))
        if not source.is_torchs(type(above).__module__):
            return above, names[depth]
    return root, names[0]


def attends_to_one(module: nn.Module, inputs: Inputs) -> bool:
    """Whether a softmax goes over a single number, which is 1 whatever the score: larger inputs would tell more."""
    watch = _Softmaxes()
    with preserved(seed=0), torch.no_grad(), watch:
        inputs.call(module)
    return watch.is_single


class _Softmaxes(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.is_single = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Do the operation, and look at what it normalises."""
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        tensors = [one for one in args if isinstance(one, Tensor)]
        if name == "softmax" and isinstance(result, Tensor):
            dim = (kwargs or {}).get("dim", args[1] if len(args) > 1 else -1)
            self.is_single |= isinstance(dim, int) and result.ndim > 0 and result.shape[dim] == 1
        elif "attention" in name and len(tensors) > 1:
            self.is_single |= 1 in tensors[1].shape
        return result


def longer(inputs: Inputs) -> Iterator[Inputs]:
    """The inputs with two in place of one along an axis: in a loop of a single step nothing is remembered."""
    for tensor in inputs.tensors():
        for axis in range(1, tensor.ndim):
            if tensor.shape[axis] == 1:
                yield arguments.replaced(inputs, {id(tensor): torch.cat([tensor, tensor.flip(0)], axis)})


def is_asked_for(owner: type, given: str) -> bool:
    """Whether forward asks for an argument, by which more of its layers' features may be wanted.

    Args:
        owner: the class of the module that has the layer.
        given: the argument that was given besides those that are needed, or "".
    """
    forward = source.function_node(getattr(owner, "forward", None))
    if forward is None:
        return True
    names = {argument.arg for argument in ast.walk(forward.args) if isinstance(argument, ast.arg)} - {given}
    tests = [part.test for part in ast.walk(forward) if isinstance(part, ast.If | ast.IfExp)]
    return any(getattr(part, "id", "") in names for test in tests for part in ast.walk(test))


def _axis(layer: nn.Module) -> int:
    return 1 if isinstance(layer, SECOND) else -1


@contextmanager
def _watched(module: nn.Module, note: Callable[[str, int, Tensor], None]) -> Iterator[None]:
    """Inside, every output of a layer is noted with its path and the axis of its features."""

    def hook(path: str, axis: int) -> Any:
        return lambda _part, _args, output: note(path, axis, output) if isinstance(output, Tensor) else None

    hooks = [
        part.register_forward_hook(hook(path, _axis(part)))
        for path, part in module.named_modules()
        if isinstance(part, (*LAST, *SECOND))
    ]
    try:
        yield
    finally:
        for one in hooks:
            one.remove()
