"""torch.export with the batch axis left open."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.probe import batch, tree
from layersmith.probe.inputs import Inputs
from layersmith.probe.surroundings import preserved


def open_axis(module: nn.Module, inputs: Inputs) -> int | None:
    """The batch axis, if there is one that eager mode takes more and fewer rows on."""
    axes = batch.axes(module, inputs)
    if len(axes) != 1 or (size := batch.batch_size(inputs, axes[0])) < 2:  # noqa: PLR2004 - 1 is a case apart
        return None
    calls = (inputs, *(batch.grown(inputs, count, axis=axes[0]) for count in (1, size)))
    usual, larger, twice = (_shapes(module, given) for given in calls)
    is_taken = usual is not None and larger is not None and twice is not None
    return axes[0] if is_taken and not _grow_twice(usual or [], larger or []) else None


def _shapes(module: nn.Module, inputs: Inputs) -> list[torch.Size] | None:
    """Those of the outputs of a copy of the module; None if it does not take the inputs."""
    try:
        with preserved(seed=0):
            return [output.shape for output in tree.tensors(inputs.call(copy.deepcopy(module)))]
    except Exception:  # noqa: BLE001 - whatever it raises, it does not take them
        return None


def _grow_twice(usual: list[torch.Size], larger: list[torch.Size]) -> bool:
    """Whether some output grows along two axes: then one of them is counted by an argument that holds no rows."""
    pairs = [(a, b) for a, b in zip(usual, larger, strict=False) if len(a) == len(b)]
    return any(sum(m != n for m, n in zip(a, b, strict=True)) > 1 for a, b in pairs)


def with_rows(inputs: Inputs, axis: int) -> list[Tensor]:
    """The tensors that hold rows of the batch on that axis."""
    size = batch.batch_size(inputs, axis)
    return [tensor for tensor in inputs.tensors() if tensor.ndim > axis and tensor.shape[axis] == size]


def exported(module: nn.Module, inputs: Inputs, axis: int | None, *, seed: int) -> Any:
    """The exported program, with that axis open; with all sizes fixed where it is None."""
    from torch.export import Dim, ShapesCollection, export  # noqa: PLC0415 - slow, and only here

    inputs = inputs.clone()
    shapes: Any = ShapesCollection()
    size = batch.batch_size(inputs, axis) if axis is not None else 0
    for tensor in with_rows(inputs, axis) if axis is not None else ():
        shapes[tensor] = {axis: Dim.DYNAMIC}
    with preserved(seed=seed), torch.no_grad():
        return export(
            module,
            inputs.args,
            dict(inputs.kwargs),
            dynamic_shapes=shapes if size else None,
            strict=False,
        )
