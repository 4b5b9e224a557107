"""Whether an input, or a feature of it, has any effect on an output."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.probe import arguments, closeness, leaves, tree
from layersmith.probe.inputs import Inputs
from layersmith.probe.surroundings import preserved
from layersmith.probe.template import copied

MORE = 8  # times as many steps
ROUNDING = 1e-5  # of the largest number of an output
TINY = 1e-300
LESS_IN_DOUBLE = 1e-6  # where that is rounding
LOUD = 3.0  # times the mean size of what is replaced
SPATIAL = (nn.modules.conv._ConvNd, nn.modules.pooling._MaxPoolNd, nn.modules.pooling._AvgPoolNd)  # noqa: SLF001


def open_gates(module: nn.Module) -> None:
    """Move every parameter a little, for good: a branch behind a gate that starts at zero has an effect too."""
    with torch.no_grad(), preserved(seed=0):
        for parameter in module.parameters():
            if parameter.is_floating_point() and not nn.parameter.is_lazy(parameter):
                scale = closeness.GATE * (parameter.abs().mean() + 1)
                parameter.add_(scale * torch.randn_like(parameter))


def other_values(tensor: Tensor, seed: int) -> Tensor | None:
    """Values of the same kind elsewhere; None where all whole numbers are alike, and there is no other to take."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(tensor.numel(), generator=generator)
    mixed = tensor.detach().reshape(-1)[order].reshape(tensor.shape)
    if not tensor.is_floating_point():
        return None if torch.equal(mixed, tensor) else mixed
    noise = torch.rand(tensor.shape, generator=generator).to(tensor.dtype)
    return mixed * noise if tensor.min() >= 0 else mixed + noise - 0.5


def has_effect(module: nn.Module, inputs: Inputs, tensor: Tensor, *, seeds: tuple[int, ...]) -> bool:
    """Whether any output moves with one input tensor, or passes a gradient to it, in the module's mode."""
    is_noise = False
    for seed in seeds:
        if (other := other_values(tensor, seed)) is None:
            return True
        before = _outputs(module, inputs, seed)
        for values in (other, _padded(tensor)):
            after = _outputs(module, arguments.replaced(inputs, {id(tensor): values}), seed)
            if _differ(before, after):
                if not _is_rounding(module, inputs, tensor, seed, _moved(before, after)):
                    return True
                is_noise = True  # and so would a gradient be
    if is_noise or not tensor.is_floating_point():
        return False
    return bool((_gradient(module, inputs, tensor, seeds[0]) != 0).any())


def _is_rounding(module: nn.Module, inputs: Inputs, tensor: Tensor, seed: int, moved: float) -> bool:
    """Whether the outputs move by rounding alone, as of what a softmax takes away again: in float64 by as much less."""
    if not 0 < moved < ROUNDING:
        return False
    try:
        place = next(index for index, one in enumerate(inputs.tensors()) if one is tensor)
        wide, doubles = copied(module).double(), inputs.to(torch.float64)
        one = [*doubles.tensors()][place]
        before = _outputs(wide, doubles, seed)
        others = (other_values(one, seed), _padded(one))
        after = [
            _outputs(wide, arguments.replaced(doubles, {id(one): other}), seed)
            for other in others
            if other is not None
        ]
    except Exception:  # noqa: BLE001 - a module of one dtype cannot be asked
        return False
    return max((_moved(before, found) for found in after), default=moved) <= moved * LESS_IN_DOUBLE


def _moved(left: list[Tensor], right: list[Tensor]) -> float:
    """The largest difference, as a share of the largest number of its output; infinite where they cannot be compared."""
    if [one.shape for one in left] != [one.shape for one in right]:
        return math.inf
    pairs = [(a.double(), b.double()) for a, b in zip(left, right, strict=True) if a.numel()]
    shares = [float((a - b).abs().max() / a.abs().max().clamp(min=TINY)) for a, b in pairs]
    return max(shares, default=0.0)


def _padded(tensor: Tensor) -> Tensor:
    """Every second number a zero: a mask may be made of where an input is."""
    keep = torch.arange(tensor.numel(), device=tensor.device).reshape(tensor.shape) % 2
    return tensor.detach() * keep.to(tensor.dtype)


def is_chosen(module: nn.Module, inputs: Inputs, tensor: Tensor) -> bool:
    """Whether a path leads from the input to an output, and tokens beside it may choose which of its numbers count."""
    if all(other.is_floating_point() for other in inputs.tensors()) or not tensor.is_floating_point():
        return False
    asking = tensor.detach().clone().requires_grad_()
    held = arguments.replaced(inputs, {id(tensor): asking})
    with preserved(seed=0), torch.enable_grad():
        outputs = [*_differentiable(module(*held.args, **held.kwargs))]
    return id(asking) in leaves.leaves_behind(outputs)


def loud_like(tensor: Tensor) -> Tensor:
    """Random numbers larger than the tensor's, which nothing that depends on them overlooks."""
    return LOUD * torch.randn_like(tensor) * (1 + tensor.abs().mean())


def longer(inputs: Inputs) -> Inputs:
    """Rows of many times as many steps, each a little smaller than the one before, and what has a line for each step."""
    stacks = [x for x in inputs.tensors() if x.ndim == 3]  # noqa: PLR2004 - rows x time x features
    lines = {x.shape[1] for x in stacks} - {x.shape[0] for x in stacks}

    def more(x: Tensor) -> Tensor:
        if x.ndim == 3:  # noqa: PLR2004 - as above
            steps = x.repeat(1, MORE, 1)
            shares = torch.linspace(1, 0.5, steps.shape[1], device=x.device)[:, None]
            return steps * shares.to(x.dtype) if x.is_floating_point() else steps
        return x.repeat(MORE, 1) if x.ndim == 2 and x.shape[0] in lines else x  # noqa: PLR2004 - time x features

    return inputs.map(more)


def dead_features(module: nn.Module, inputs: Inputs, tensor: Tensor, *, seeds: tuple[int, ...]) -> list[int]:
    """The features of an input that no output moves with; counted along `feature_axis`."""
    axis = feature_axis(module, tensor)
    if axis is None or tensor.shape[axis] < 2:  # noqa: PLR2004 - the only feature is the input
        return []
    dead = torch.ones(tensor.shape[axis], dtype=torch.bool)
    others = [dim for dim in range(tensor.ndim) if dim != axis % tensor.ndim]
    for seed in seeds:
        dead &= (
            (_gradient(module, inputs, tensor, seed) == 0).all(0)
            if not others
            else (_gradient(module, inputs, tensor, seed).abs().sum(others) == 0)
        )
        if not dead.any():
            return []
    if dead.all():
        return []
    index = dead.nonzero().flatten()
    other = tensor.detach().clone()
    other.index_add_(axis, index, torch.ones_like(other.index_select(axis, index)))
    changed = arguments.replaced(inputs, {id(tensor): other})
    is_same = not _differ(_outputs(module, inputs, 0), _outputs(module, changed, 0))
    return index.tolist() if is_same else []


def is_too_wide(module: nn.Module, inputs: Inputs, tensor: Tensor, dead: list[int]) -> bool:
    """Whether it is the last features that are dead, and the module answers the same without them.

    What has the same shape goes without them too: a loss asks that both be of one size.
    """
    axis = feature_axis(module, tensor)
    if axis is None or dead[-1] + 1 != tensor.shape[axis] or dead != [*range(dead[0], dead[-1] + 1)]:
        return False
    alike = [one for one in inputs.tensors() if one.shape == tensor.shape]
    return any(_is_same_without(module, inputs, some, axis, dead[0]) for some in ([tensor], alike))


def _is_same_without(module: nn.Module, inputs: Inputs, some: list[Tensor], axis: int, kept: int) -> bool:
    narrow = arguments.replaced(inputs, {id(one): one.detach().narrow(axis, 0, kept) for one in some})
    try:
        return not _differ(_outputs(module, inputs, 0), _outputs(module, narrow, 0))
    except Exception:  # noqa: BLE001 - then it needs them
        return False


def is_masked_out(module: nn.Module, size: int, dead: list[int]) -> bool:
    """Whether a fixed tensor of the module is zero at these features alone: they are left out on purpose."""
    fixed = (tensor for tensor in module.buffers() if tensor.ndim and tensor.shape[-1] == size)
    return any(
        (~tensor.bool()).reshape(-1, size).all(0).nonzero().flatten().tolist() == dead for tensor in fixed
    )


def is_under_zeros(
    module: nn.Module, inputs: Inputs, tensor: Tensor, dead: list[int], *, seeds: tuple[int, ...]
) -> bool:
    """Whether it is zeros in fixed tensors, as at the ends of a window, or a mask among the inputs that hides these."""
    if _is_under_flags(module, inputs, tensor, dead, seeds=seeds):
        return True
    with torch.no_grad():
        for table in module.buffers():
            if table.is_floating_point() or table.dtype is torch.bool:
                table[table == 0] = 1
    try:
        return not set(dead) & set(dead_features(module, inputs, tensor, seeds=seeds))
    except Exception:  # noqa: BLE001 - other numbers may make no sense there
        return False


def _is_under_flags(
    module: nn.Module, inputs: Inputs, tensor: Tensor, dead: list[int], *, seeds: tuple[int, ...]
) -> bool:
    """Whether a mask among the inputs, as it happens to be, leaves these features out in every row."""
    flags = [one for one in inputs.tensors() if one.dtype is torch.bool]
    for value in (True, False) if flags else ():
        raised = arguments.replaced(inputs, {id(one): torch.full_like(one, value) for one in flags})
        with contextlib.suppress(Exception):  # it need not accept them
            is_alive = not set(dead) & set(dead_features(module, raised, tensor, seeds=seeds))
            if is_alive and has_effect(module, raised, tensor, seeds=seeds):
                return True
    return False


def has_effect_when_larger(
    module: nn.Module, inputs: Inputs, tensor: Tensor, *, seeds: tuple[int, ...]
) -> bool:
    """Whether any output moves with an input in a longer call, or on maps of more places than one."""
    place = next(index for index, one in enumerate(inputs.tensors()) if one is tensor)
    open_gates(module)
    for more in (longer(inputs), *_spread(inputs, tensor)):
        with contextlib.suppress(Exception):  # it need not accept them
            if has_effect(module, more, [*more.tensors()][place], seeds=seeds):
                return True
    return False


def _spread(inputs: Inputs, tensor: Tensor) -> Iterator[Inputs]:
    """The same call with maps of 2 x 3 places, or three steps, where each was of one: a softmax over one is one."""
    generator = torch.Generator().manual_seed(0)
    if all(x.ndim > 1 and x.is_floating_point() and x.shape[2:].numel() == 1 for x in inputs.tensors()):
        yield inputs.map(lambda x: torch.randn((*x.shape[:2], 2, 3), generator=generator).to(x))
    rows = [id(x) for x in inputs.tensors() if x.ndim == 2 and x.is_floating_point()]  # noqa: PLR2004
    beside = [one for one in rows if one != id(tensor)]
    for others in (beside, *([one] for one in beside), []) if id(tensor) in rows else ():
        yield inputs.map(functools.partial(_in_steps, changed={*others, id(tensor)}, generator=generator))


def _in_steps(x: Tensor, changed: set[int], generator: torch.Generator) -> Tensor:
    return torch.randn(len(x), 3, x.shape[1], generator=generator).to(x) if id(x) in changed else x


def is_per_token(module: nn.Module, inputs: Inputs, tensor: Tensor) -> bool:
    """Whether there is a number for each token, which may choose those that count."""
    others = (one for one in inputs.tensors() if not one.is_floating_point())
    return any(one.shape == tensor.shape for one in others) and is_chosen(module, inputs, tensor)


def is_too_short(module: nn.Module, inputs: Inputs, tensor: Tensor, *, seeds: tuple[int, ...]) -> bool:
    """Whether no feature is dead in rows of more steps, as of what is shifted or seen from afar."""
    if tensor.ndim != 3:  # noqa: PLR2004 - rows x steps x features
        return False
    more = longer(inputs)
    place = next(index for index, one in enumerate(inputs.tensors()) if one is tensor)
    try:
        return not dead_features(module, more, [*more.tensors()][place], seeds=seeds)
    except Exception:  # noqa: BLE001 - it need not accept them
        return False


def feature_axis(module: nn.Module, tensor: Tensor) -> int | None:
    """The axis that surely holds features, not places; None where there is none."""
    spatial = [part for part in nn.Module.modules(module) if isinstance(part, SPATIAL)]
    if not tensor.is_floating_point() or tensor.ndim < 2:  # noqa: PLR2004 - rows x features
        return None
    if spatial:
        is_last = tensor.shape[-1] == getattr(spatial[0], "in_channels", None) != tensor.shape[1]
        return -1 if is_last else 1 if tensor.ndim > 2 else None  # noqa: PLR2004 - as above
    return -1 if tensor.ndim <= 3 else None  # noqa: PLR2004 - rows x time x features


def _differ(left: list[Tensor], right: list[Tensor]) -> bool:
    """Whether anything differs at all, be it by one rounding."""
    pairs = zip(left, right, strict=False)
    return len(left) != len(right) or any(closeness.gap(a, b).max_abs > 0 for a, b in pairs)


def _outputs(module: nn.Module, inputs: Inputs, seed: int) -> list[Tensor]:
    with preserved(seed=seed), torch.no_grad():
        return leaves.tensors_within(inputs.call(module))


def _gradient(module: nn.Module, inputs: Inputs, tensor: Tensor, seed: int) -> Tensor:
    """Of a random sum of all outputs, which no symmetry makes constant; ones where there is none to take."""
    with preserved(seed=seed), torch.enable_grad():
        asking = tensor.detach().clone().requires_grad_()
        held = arguments.replaced(inputs, {id(tensor): asking})
        found = list(_differentiable(module(*held.args, **held.kwargs)))
        if not found:
            return torch.zeros_like(asking)
        total = tree.total([output * torch.randn_like(output) for output in found])
        (slope,) = torch.autograd.grad(total, asking, allow_unused=True)
    return slope if slope is not None else torch.zeros_like(asking)


def _differentiable(output: object) -> Iterator[Tensor]:
    return (x for x in leaves.tensors_within(output) if x.requires_grad and tree.is_differentiable(x))
