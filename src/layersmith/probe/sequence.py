"""The time axis of a sequence module: which one it is, and inputs of which some steps are changed or cut off."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.probe import batch, tree
from layersmith.probe.influence import SPATIAL
from layersmith.probe.inputs import Inputs

Run = Callable[[Inputs], Any]
LOUD = 4.0  # a changed step is also made louder than any other: a maximum or a top-k must notice
STEPS = 3  # fewer hold no past, present and future
ROWS, MATRIX, STACK = 2, 3, 4  # ranks: [batch, time], [batch, time, features], [batch, heads, time, features]
TOGETHER = (
    {"q", "k", "v"},
    {"query", "key", "value"},
    {"queries", "keys", "values"},
    {"q", "k"},
    {"k", "v"},
)
WAVEFORM = re.compile(r"^(?:wav|waveforms?|audio|speech|signal|samples|series)$")
CONVOLUTIONS = (nn.Conv1d, nn.ConvTranspose1d)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the time axis lies, in which tensors of a call, and how many steps there are."""

    names: tuple[str, ...]  # paths of the tensors that hold the sequence, as in `Inputs.named_tensors`
    batch: int  # axis
    time: int  # axis
    steps: int

    def chosen(self, change: Callable[[Tensor], Tensor], inputs: Inputs) -> Inputs:
        """The same call with every tensor of the sequence changed."""
        names = iter([name for name, _ in inputs.named_tensors()])
        return inputs.map(lambda tensor: change(tensor) if next(names) in self.names else tensor)

    def prefix(self, inputs: Inputs, count: int) -> Inputs:
        """The first `count` steps only."""
        return self.chosen(lambda tensor: tensor.narrow(self.time, 0, count), inputs)

    def doubled(self, inputs: Inputs) -> Inputs:
        """All steps, and once more behind them."""
        return self.chosen(lambda tensor: torch.cat([tensor, tensor], self.time), inputs)

    def scrambled(self, inputs: Inputs, steps: Sequence[int], *, seed: int, loud: float = 1.0) -> Inputs:
        """The same call with other values at these steps; those of other steps or rows for whole numbers."""
        generator = torch.Generator().manual_seed(seed)
        return self.chosen(lambda tensor: _scrambled(tensor, self.time, steps, generator, loud), inputs)

    def at(self, output: object, steps: Sequence[int]) -> Iterator[tuple[str, Tensor]]:
        """These steps of every output that has a time axis."""
        for path, tensor in tree.named_tensors(output, name="output"):
            axis = self.axis_of(tensor)
            if axis is not None and tree.is_differentiable(tensor):
                yield path, tensor.index_select(axis, torch.tensor(steps, device=tensor.device))

    def axis_of(self, tensor: Tensor) -> int | None:
        """The time axis of an output: the input's own, or else the only other axis of that size."""
        sizes = list(tensor.shape)
        if tensor.ndim > self.time and sizes[self.time] == self.steps:
            return self.time
        others = [axis for axis, size in enumerate(sizes) if size == self.steps and axis != self.batch]
        return others[0] if len(others) == 1 else None


def stated(inputs: Inputs, axis: int) -> Layout | None:
    """The layout of the first input with its time on that axis; None where there is one step."""
    name, x = next(iter(inputs.named_tensors()))
    axis %= x.ndim
    return Layout((name,), 0 if axis else 1, axis, x.shape[axis]) if x.shape[axis] > 1 else None


def layout(
    module: nn.Module,
    inputs: Inputs,
    run: Run,
    *,
    assumed: int | None = None,
    steps: int = 0,
    path: str = "",
) -> Layout | None:
    """The layout of the first input, or of another, and of those that go with it; None where it is not sure.

    Args:
        module: whose class may name the axes of its input.
        inputs: a call of it.
        run: calls a module like it, and may raise.
        assumed: the time axis where several are possible.
        steps: how many there are, where that is known.
        path: of the input, as in `Inputs.named_tensors`; "" for the first.
    """
    named = dict(inputs.named_tensors())
    first = path or next(iter(named), "")
    x = named.get(first)
    if x is None or (axes := batch.axes(module, inputs)) not in ((0,), (1,)):
        return None
    fitting = [axis for axis, size in enumerate(x.shape) if size == steps and axis != axes[0]]
    time = fitting[0] if len(fitting) == 1 else _time(module, inputs, x, axes[0], run, first)
    if time is None and x.ndim == MATRIX and x.is_floating_point() and not _convolves(module):
        time = assumed
    if time is None or x.shape[time] < STEPS:
        return None
    names = _together(module, inputs, first)
    if any(named[name].ndim <= time or named[name].shape[time] != x.shape[time] for name in names):
        return None
    return Layout(names, axes[0], time, x.shape[time])


def _time(module: nn.Module, inputs: Inputs, x: Tensor, rows: int, run: Run, first: str) -> int | None:
    cls: type = type(module)
    said = batch.shape_names(cls)
    if len(said) == x.ndim:
        found = [axis for axis, name in enumerate(said) if name in batch.TIME_NAMES]
        if len(found) == 1 and found[0] != rows:
            return found[0]
    if rows == 1 and x.ndim in (ROWS, MATRIX):
        return 0
    if x.ndim == ROWS:
        is_sequence = not x.is_floating_point() or _is_one_convolved(module, x)
        return 1 if is_sequence or _is_waveform(module, first, inputs) else None
    has_channels_last = x.ndim == STACK or (x.ndim == MATRIX and not _convolves(module))
    if has_channels_last and len(_together(module, inputs, first)) > 1:
        return x.ndim - ROWS
    return _of_matrix(module, inputs, x, run, first) if x.ndim == MATRIX and x.is_floating_point() else None


def _of_matrix(module: nn.Module, inputs: Inputs, x: Tensor, run: Run, first: str) -> int | None:
    """Of [batch, ?, ?]: the axis that may be shorter, as features may not; else the one that no layer expects.

    Strides round: one feature less may do, while of the fewest steps that there can be, none may be missing. Twice as
    many tell then.
    """
    names = _together(module, inputs, first)
    along = {axis: Layout(names, 0, axis, 0) for axis in (1, 2)}
    free = [axis for axis, laid in along.items() if _runs(run, laid.prefix(inputs, x.shape[axis] - 1))]
    if len(free) == 1:
        other = 3 - free[0]
        is_other = not _runs(run, along[free[0]].doubled(inputs)) and _runs(run, along[other].doubled(inputs))
        return other if is_other else free[0]
    if free:
        return None
    channels = {part.in_channels for part in nn.Module.modules(module) if isinstance(part, CONVOLUTIONS)}
    features = {
        weight.shape[-1]
        for part in nn.Module.modules(module)
        for weight in part.parameters(recurse=False)
        if weight.ndim
    }
    if x.shape[1] in channels and x.shape[2] not in channels:
        return 2
    return 1 if not channels and x.shape[2] in features and x.shape[1] != x.shape[2] else None


def _is_one_convolved(module: nn.Module, x: Tensor) -> bool:
    """Whether these are [channels, time] of one sample, which a convolution takes as well."""
    channels = {part.in_channels for part in nn.Module.modules(module) if isinstance(part, CONVOLUTIONS)}
    return x.shape[0] in channels and x.shape[1] not in channels


def _is_waveform(module: nn.Module, path: str, inputs: Inputs) -> bool:
    """Whether the argument is called so: [batch, samples]."""
    return any(held == path and WAVEFORM.search(name) for name, held in _paths(module, inputs).items())


def strides(module: nn.Module) -> bool:
    """Whether a convolution or a pooling leaves out steps."""
    found = (getattr(part, "stride", 1) for part in nn.Module.modules(module) if isinstance(part, SPATIAL))
    return any(max(one) > 1 if isinstance(one, tuple) else one > 1 for one in found)


def _convolves(module: nn.Module) -> bool:
    return any(isinstance(part, CONVOLUTIONS) for part in nn.Module.modules(module))


def _runs(run: Run, inputs: Inputs) -> bool:
    try:
        run(inputs)
    except Exception:  # noqa: BLE001 - that it raises is the answer
        return False
    return True


def _together(module: nn.Module, inputs: Inputs, first: str) -> tuple[str, ...]:
    """The paths of the tensors that are one sequence: queries, keys and values, or the first input alone."""
    given = {name: path for name, path in _paths(module, inputs).items() if path}
    for group in TOGETHER:
        paths = tuple(path for name, path in given.items() if name in group)
        if len(paths) == len(group) and first in paths:
            return paths
    return (first,)


def _paths(module: nn.Module, inputs: Inputs) -> dict[str, str]:
    """The path of every argument that is a tensor, by the parameter of forward that it is given to."""
    names = [*inspect.signature(module.forward).parameters]
    by_place = {
        name: f"input[{index}]" if isinstance(value, Tensor) else ""
        for index, (name, value) in enumerate(zip(names, inputs.args, strict=False))
    }
    return {**by_place, **{name: name for name, value in inputs.kwargs.items() if isinstance(value, Tensor)}}


def _scrambled(
    tensor: Tensor, axis: int, steps: Sequence[int], generator: torch.Generator, loud: float
) -> Tensor:
    pool = tensor.detach().reshape(-1)
    changed = tensor.detach().clone()
    for step in steps:
        place = changed.select(axis, step)
        new = pool[torch.randint(pool.numel(), place.shape, generator=generator)]
        if tensor.is_floating_point():
            share = torch.rand(place.shape, generator=generator).to(pool.dtype)
            new = loud * (
                share * new
                + (1 - share) * pool[torch.randint(pool.numel(), place.shape, generator=generator)]
            )
        place.copy_(new)
    return changed
