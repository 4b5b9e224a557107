"""The first steps of training under random objectives: which parameters a gradient reaches, and which stay alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from layersmith.probe import tree
from layersmith.probe.closeness import ALIKE, NUDGE
from layersmith.probe.inputs import Inputs
from layersmith.probe.rehearsal import backward
from layersmith.probe.surroundings import preserved

RATE = 0.03  # of a parameter's own size, that a step changes it by
SMALLEST = 0.01  # a step of a parameter that is zero
MOST = 8  # steps
STEPS = 3  # that twins are given to part
NEARLY_ALL = 0.9  # of the slices have a twin
PATIENCE = 3  # steps that reach nothing new: by then two zero-initialised factors in sequence have woken up

Twins = dict[tuple[str, int], float]  # parameter and axis -> share of slices that equal another


def gradients(module: nn.Module, inputs: Sequence[Inputs], *, steps: int) -> Iterator[dict[str, Tensor]]:
    """The gradient of every parameter on the graph, step by step; the module is changed by each.

    Every step has another random objective, and the next of the inputs.
    """
    for step in range(steps):
        module.zero_grad(set_to_none=True)
        with preserved(seed=step), torch.enable_grad():
            backward(inputs[step % len(inputs)].call(module), seed=step)
        found = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
        yield found
        with torch.no_grad():
            for name, gradient in found.items():
                _step(module.get_parameter(name), gradient)


def unreached(module: nn.Module, inputs: Sequence[Inputs]) -> set[str]:
    """The parameters on the graph whose gradient stays zero, however many steps the others take."""
    waiting: set[str] = set()
    idle = 0
    for step, found in enumerate(gradients(module, inputs, steps=MOST)):
        silent = {name for name, gradient in found.items() if not bool(gradient.count_nonzero())}
        idle = idle + 1 if step and silent >= waiting else 0
        waiting = silent if not step else waiting & silent
        if not waiting or idle == PATIENCE:
            return waiting
    return waiting


def twins(module: nn.Module) -> Twins:
    """The trainable parameters nearly all of whose rows (axis 0), or columns (axis 1), equal another."""
    return {
        (name, axis): share
        for name, parameter in module.named_parameters()
        if parameter.requires_grad and parameter.ndim > 1 and parameter.is_floating_point()
        for axis in (0, 1)
        if (share := share_of_twins(parameter, axis)) >= NEARLY_ALL
    }


def lasting(trained: nn.Module, drawn: nn.Module, inputs: Sequence[Inputs], alike: Twins) -> dict[str, int]:
    """The axis of each parameter whose twins remain so although a gradient reaches them.

    What would have equal gradients in any case, as positions before a mean, does not count.

    Args:
        trained: a module that is used up.
        drawn: another like it, whose twins are first moved apart.
        inputs: of the steps.
        alike: the twins at the start.
    """
    reached: set[str] = set()
    for found in gradients(trained, inputs, steps=STEPS):
        if not all(bool(gradient.isfinite().all()) for gradient in found.values()):
            return {}  # steps that were too large move a few numbers, and leave the others as they were
        reached |= {name for name, gradient in found.items() if bool(gradient.count_nonzero())}
    remaining = [place for place in twins(trained) if place in alike and place[0] in reached]
    if not remaining:
        return {}
    for seed, name in enumerate(dict.fromkeys(name for name, _ in alike)):
        _nudge(drawn.get_parameter(name), seed=seed)
    first = next(gradients(drawn, inputs, steps=1))
    return {
        name: axis
        for name, axis in remaining
        if name in first and share_of_twins(first[name], axis) < NEARLY_ALL
    }


def slots(module: nn.Module, inputs: Inputs, alike: Twins) -> Twins:
    """The twins that make slices of an output twins, along an axis of as many, which they are no more once drawn.

    Args:
        module: whose parameters are moved apart.
        inputs: of two calls.
        alike: its twins.
    """
    found: Twins = {}
    before = _alike_axes(module, inputs)
    for (name, axis), share in alike.items():
        parameter = module.get_parameter(name)
        here = before & {parameter.shape[axis]}
        if not here or parameter.numel() == parameter.shape[axis]:
            continue
        same = parameter.detach().clone()
        _nudge(parameter, seed=0)
        if not here & _alike_axes(module, inputs):
            found[name, axis] = share
        with torch.no_grad():
            parameter.copy_(same)
    return found


def _alike_axes(module: nn.Module, inputs: Inputs) -> set[int]:
    """The lengths of those axes of the outputs, but the first, along which all are alike, and not nothing."""
    with preserved(seed=0), torch.no_grad():
        outputs = [*tree.tensors(inputs.call(module))]
    return {
        tensor.shape[axis]
        for tensor in outputs
        for axis in range(1, tensor.ndim - 1)
        if tensor.is_floating_point() and bool(tensor.count_nonzero())
        if share_of_twins(tensor, axis) >= NEARLY_ALL
    }


def share_of_twins(values: Tensor, axis: int) -> float:
    """The share of slices along an axis that equal another one, but for rounding."""
    rows = values.detach().movedim(axis, 0).flatten(1).double()
    if len(rows) < 2:  # noqa: PLR2004 - to be alike
        return 0.0
    scale = float(rows.norm(dim=1).max())
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(rows.shape[1], generator=generator, dtype=torch.float64).to(rows.device)
    places = (rows @ direction).sort().values
    is_near = places.diff() <= ALIKE * scale
    has_twin = torch.cat([is_near, is_near.new_zeros(1)]) | torch.cat([is_near.new_zeros(1), is_near])
    return float(has_twin.double().mean())


def _nudge(parameter: Tensor, *, seed: int) -> None:
    noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        parameter.add_(NUDGE * noise.to(parameter.device, parameter.dtype))


def _step(parameter: Tensor, gradient: Tensor) -> None:
    """Against the gradient, by a share of the parameter's size."""
    length = float(gradient.double().norm())
    if not 0 < length < float("inf"):
        return
    size = max(RATE * float(parameter.double().norm()), SMALLEST * parameter.numel() ** 0.5)
    parameter.sub_(gradient * (size / length))
