"""torch.export with the batch axis left open."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from layersmith.probe import batch
from layersmith.probe.inputs import Inputs
from layersmith.probe.surroundings import preserved


def open_axis(module: nn.Module, inputs: Inputs) -> int | None:
    """The batch axis, if there is one that eager mode takes more and fewer rows on."""
    axes = batch.axes(module, inputs)
    if len(axes) != 1 or (size := batch.batch_size(inputs, axes[0])) < 2:  # noqa: PLR2004 - 1 is a case apart
        return None
    taken = all(batch.grown_if_taken(module, inputs, more, axis=axes[0]) is not None for more in (1, size))
    return axes[0] if taken else None


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
