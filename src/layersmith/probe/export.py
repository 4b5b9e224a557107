"""torch.export with the batch axis left open."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from layersmith.probe import batch, tree
from layersmith.probe.inputs import Inputs
from layersmith.probe.surroundings import preserved


def open_axis(module: nn.Module, inputs: Inputs) -> int | None:
    """The batch axis, if there is one that eager mode takes more and fewer rows on."""
    axes = batch.axes(module, inputs)
    if len(axes) != 1 or (size := batch.batch_size(inputs, axes[0])) < 2:  # noqa: PLR2004 - 1 is a case apart
        return None
    more = [batch.grown_if_taken(module, inputs, count, axis=axes[0]) for count in (1, size)]
    return axes[0] if all(more) and not _grows_twice(module, inputs, more[0]) else None


def _grows_twice(module: nn.Module, inputs: Inputs, larger: Inputs | None) -> bool:
    """Whether some output grows along two axes: then one of them is counted by an argument that holds no rows."""
    outputs = []
    for given in filter(None, (inputs, larger)):
        with preserved(seed=0), torch.no_grad():
            outputs.append([*tree.tensors(given.call(copy.deepcopy(module)))])
    pairs = [(a, b) for a, b in zip(*outputs, strict=False) if a.ndim == b.ndim]
    return any(sum(m != n for m, n in zip(a.shape, b.shape, strict=True)) > 1 for a, b in pairs)


def exported(module: nn.Module, inputs: Inputs, axis: int | None, *, seed: int) -> Any:
    """The exported program, with that axis open; with all sizes fixed where it is None."""
    from torch.export import Dim, ShapesCollection, export  # noqa: PLC0415 - slow, and only here

    inputs = inputs.clone()
    shapes: Any = ShapesCollection()
    size = batch.batch_size(inputs, axis) if axis is not None else 0
    for tensor in inputs.tensors():
        if axis is not None and tensor.ndim > axis and tensor.shape[axis] == size:
            shapes[tensor] = {axis: Dim.DYNAMIC}
    with preserved(seed=seed), torch.no_grad():
        return export(
            module,
            inputs.args,
            dict(inputs.kwargs),
            dynamic_shapes=shapes if size else None,
            strict=False,
        )
