"""The same numbers with other strides: transposed, cut from a larger tensor, channels last, expanded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from layersmith.probe.inputs import Inputs

IMAGE = 4  # axes: batch, channels, height, width


@dataclass(frozen=True, slots=True)
class Layout:
    """One call whose tensors hold the usual numbers in another layout; cloning them would pack them."""

    name: str
    inputs: Inputs


def layouts(inputs: Inputs) -> Iterator[Layout]:
    """The calls in other layouts; a tensor that a layout cannot be given to stays as it is."""
    for name, change in CHANGES.items():
        changed = inputs.map(lambda x, change=change: change(x.detach().clone()))
        if any(tensor.numel() and not tensor.is_contiguous() for tensor in changed.tensors()):
            yield Layout(name, changed)


def contiguous(inputs: Inputs) -> Inputs:
    """A packed copy."""
    return inputs.map(lambda x: x.detach().clone(memory_format=torch.contiguous_format))


def repeated_row(inputs: Inputs) -> Layout | None:
    """The first row for all, without copies of it: strides of zero."""

    def expand(x: Tensor) -> Tensor:
        return (
            x.detach()[:1].clone().expand(x.shape) if x.ndim and x.is_floating_point() else x.detach().clone()
        )

    changed = inputs.map(expand)
    is_expanded = any(not tensor.is_contiguous() for tensor in changed.tensors())
    return Layout("expanded from one row", changed) if is_expanded else None


def _transposed(x: Tensor) -> Tensor:
    return x.transpose(-1, -2).contiguous().transpose(-1, -2) if x.ndim > 1 else x


def _rows_moved(x: Tensor) -> Tensor:
    return x.transpose(0, 1).contiguous().transpose(0, 1) if x.ndim > 2 else x  # noqa: PLR2004 - of two axes it is the above


def _cut(x: Tensor) -> Tensor:
    return torch.stack([x, x], dim=-1)[..., 0] if x.ndim else x


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == IMAGE else x


CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "transposed": _transposed,
    "cut from a larger tensor": _cut,
    "channels_last": _channels_last,
    "from time-first": _rows_moved,
}
