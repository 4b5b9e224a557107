"""Which parameters an output depends on, and which submodules a call goes through."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from layersmith.probe import closeness, influence, leaves, tree
from layersmith.probe.closeness import NUDGE
from layersmith.probe.inputs import Inputs
from layersmith.probe.registration import OWN
from layersmith.probe.surroundings import preserved


@dataclass(frozen=True, slots=True)
class Reach:
    """What one call showed."""

    parameters: frozenset[str]  # the names of those with a path to an output
    called: frozenset[str]  # the paths of the submodules that were called
    is_training: bool


def reach(module: nn.Module, inputs: Inputs, *, seed: int, is_original: bool = True) -> Reach | None:
    """Call a module and read its graph; None if it raises or nothing carries a gradient.

    What it keeps in attributes (an auxiliary loss) counts as output.

    Args:
        module: is called in its mode.
        inputs: of the call.
        seed: of the call, and of the other inputs.
        is_original: whether to take the inputs as they are, or others of the same kind.
    """
    called: set[str] = set()
    hooks = [
        part.register_forward_pre_hook(lambda *_, path=path: called.add(path))
        for path, part in module.named_modules()
    ]
    try:
        with preserved(seed=seed), torch.enable_grad():
            output = (inputs if is_original else others(inputs)).call(module)
    except Exception:  # noqa: BLE001 - a mode may ask for more, and other inputs need not be accepted
        return None
    finally:
        for hook in hooks:
            hook.remove()
    outputs = [tensor for tensor in (*leaves.tensors_within(output), *kept(module)) if tensor.requires_grad]
    reached = {*leaves.leaves_behind(outputs)} | _given_by_functions(module, outputs)
    names = frozenset(name for name, parameter in module.named_parameters() if id(parameter) in reached)
    return Reach(names, frozenset(called), module.training) if outputs else None


def reached_by_more_steps(module: nn.Module, inputs: Inputs, *, seed: int) -> frozenset[str]:
    """The names of what gradients reach in a longer call: a router may wait for more steps than it keeps."""
    found = reach(module, influence.longer(inputs), seed=seed)
    return found.parameters if found is not None else frozenset()


def _given_by_functions(module: nn.Module, outputs: list[Tensor]) -> set[int]:
    """The ids of parameters to which a Function's own backward gives a gradient, as in reversible networks."""
    own = torch.autograd.function.BackwardCFunction
    if not any(isinstance(node, own) for node in leaves.nodes_behind(outputs)):
        return set()
    with contextlib.suppress(Exception):
        tree.total(outputs).backward()
    return {id(parameter) for parameter in module.parameters() if parameter.grad is not None}


def returned_by(part: nn.Module, module: nn.Module, inputs: Inputs, *, seed: int) -> frozenset[str]:
    """The names, in the module, of the parameters that what a part of it returns depends on."""
    outputs: list[Tensor] = []
    hook = part.register_forward_hook(
        lambda _part, _args, output: outputs.extend(leaves.tensors_within(output))
    )
    try:
        with preserved(seed=seed), torch.enable_grad():
            inputs.call(module)
    finally:
        hook.remove()
    reached = leaves.leaves_behind(tensor for tensor in outputs if tensor.requires_grad)
    return frozenset(name for name, parameter in module.named_parameters() if id(parameter) in reached)


def changes_nothing(module: nn.Module, inputs: Inputs, names: set[str], *, seed: int) -> bool:
    """Whether no output moves when these parameters do, a little. The module is changed for good."""
    outputs = []
    for _ in range(2):
        with preserved(seed=seed), torch.no_grad():
            outputs.append(leaves.tensors_within(inputs.call(module)))
        for name in names:
            parameter = module.get_parameter(name).data
            parameter.add_(NUDGE * (parameter.abs().mean() + 1) * torch.ones_like(parameter))
    return not closeness.gaps(*outputs)


def outermost_unreached(root: nn.Module, path: str, least: str, unreached: set[str]) -> str:
    """From a module's path on to that of a parameter in it: the first below which nothing is reached."""
    steps = path.removeprefix(f"{least}.").split(".") if path != least else []
    where = least
    while any(n not in unreached for n, _ in root.named_parameters() if f"{n}.".startswith(f"{where}.")):
        where = f"{where}.{steps.pop(0)}"
    return where


def is_passed_over(root: nn.Module, container: str, unreached: set[str], runs: list[Reach]) -> bool:
    """Whether other members of a container are reached, always the same: neither data nor chance chooses."""
    inside = {name for name, _ in root.named_parameters() if name.startswith(f"{container}.")}
    per_run = [run.parameters & inside for run in runs if not run.is_training]
    return bool(inside - unreached) and len(set(per_run)) <= 1


def first_reached(root: nn.Module, container: str, unreached: set[str]) -> int:
    """How many members of a list are reached, if they are the first ones and none of the others is; 0 if not."""
    inside = (name.removeprefix(f"{container}.") for name in unreached if name.startswith(f"{container}."))
    numbers = {int(number) for name in inside if (number := name.partition(".")[0]).isdigit()}
    count = len([*root.get_submodule(container).children()])
    first = min(numbers, default=0)
    return first if numbers == {*range(first, count)} else 0


def others(inputs: Inputs) -> Inputs:
    """Values of the same kind elsewhere: floats are mixed anew, whole numbers change places."""

    def changed(tensor: Tensor) -> Tensor:
        values = tensor.detach().reshape(-1)[torch.randperm(tensor.numel())].reshape(tensor.shape)
        if not tensor.is_floating_point() or tensor.numel() < 2:  # noqa: PLR2004 - one has no spread
            return values
        return values + values.std() * torch.randn_like(values)

    return inputs.map(changed)


def kept(module: nn.Module) -> list[Tensor]:
    """The tensors with a graph that a call left in attributes."""
    held = [
        value for part in nn.Module.modules(module) for name, value in vars(part).items() if name not in OWN
    ]
    return [tensor for tensor in tree.tensors(held) if tensor.grad_fn is not None]
