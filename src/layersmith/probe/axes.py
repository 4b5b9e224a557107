"""Shapes as people write them, `b t d -> b t h`: read, compared with tensors, and varied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from layersmith.errors import UsageError
from layersmith.probe import tree
from layersmith.probe.inputs import Inputs

BATCH = ("b", "batch", "n", "bs")
Side = tuple[tuple[str, ...], ...]  # axes, by tensor


@dataclass(frozen=True, slots=True)
class Pattern:
    """Axes of the inputs and of the outputs, by name."""

    text: str
    before: Side
    after: Side

    def bound(self, inputs: Inputs) -> dict[str, int] | str:
        """The size of every name in the inputs, or why they do not fit."""
        sizes: dict[str, int] = {}
        tensors = [*inputs.tensors()]
        if len(tensors) < len(self.before):
            return f"it has {len(tensors)} tensors"
        for axes, tensor in zip(self.before, tensors, strict=False):
            if wrong := _fit(axes, tensor, sizes):
                return wrong
        return sizes

    def shown(self, inputs: Inputs) -> str:
        """The sizes of the names in a call: `b=1, t=7`."""
        sizes = self.bound(inputs)
        return (
            sizes if isinstance(sizes, str) else ", ".join(f"{name}={size}" for name, size in sizes.items())
        )

    def wrong(self, output: object, sizes: dict[str, int]) -> str:
        """What is wrong with an output; "" where it fits."""
        tensors, known = [*tree.tensors(output)], dict(sizes)
        if len(tensors) < len(self.after):
            return f"returns {len(tensors)} tensors"
        for axes, tensor in zip(self.after, tensors, strict=False):
            if why := _fit(axes, tensor, known):
                return f"returns {list(tensor.shape)}: {why}"
        return ""

    def variants(self, inputs: Inputs) -> Iterator[tuple[str, Inputs]]:
        """The same call with each named axis cut to one and two, and lengthened by one."""
        sizes = self.bound(inputs)
        if isinstance(sizes, str):
            return
        for name, size in sizes.items():
            for count in sorted({1, 2, size + 1} - {size}):
                yield name, self._resized(inputs, name, count)

    def _resized(self, inputs: Inputs, name: str, count: int) -> Inputs:
        sides = iter(self.before)

        def change(tensor: Tensor) -> Tensor:
            axes = next(sides, ())
            start = len(axes) - tensor.ndim if "..." in axes else 0
            for index, axis in enumerate(axes):
                if axis == name:
                    place = index - start if "..." in axes[:index] else index
                    order = torch.arange(count) % tensor.shape[place]
                    tensor = tensor.index_select(place, order)
            return tensor

        return inputs.map(change)


def parse(value: object) -> Pattern:
    """The pattern that a text states.

    Raises:
        UsageError: for anything but `"b t d -> b t h"`.
    """
    if not isinstance(value, str) or value.count("->") != 1:
        raise UsageError(f'the contract wants shape="b t d -> b t h", not shape={value!r:.80}')
    before, after = (tuple(tuple(part.split()) for part in side.split(",")) for side in value.split("->"))
    for name in (axis for axes in (*before, *after) for axis in axes):
        if not (name.isidentifier() or name.isdigit() or name == "..."):
            raise UsageError(f"an axis of shape={value!r} is a name, a number or ..., not {name!r}")
    return Pattern(" ".join(value.split()), before, after)


def changed(before: object, after: object) -> int:
    """How many axes of a tensor have another size in the other output; the most of any tensor."""
    pairs = zip(tree.tensors(before), tree.tensors(after), strict=False)
    return max((sum(a != b for a, b in zip(x.shape, y.shape, strict=False)) for x, y in pairs), default=0)


def _fit(axes: tuple[str, ...], tensor: Tensor, sizes: dict[str, int]) -> str:
    """Bind the names to the sizes of a tensor; why it does not fit, or ""."""
    shape = list(tensor.shape)
    if "..." in axes:
        place = axes.index("...")
        after = len(axes) - place - 1
        if len(shape) < len(axes) - 1:
            return f"{len(shape)} axes are too few for {' '.join(axes)}"
        axes, shape = axes[:place] + axes[place + 1 :], shape[:place] + shape[len(shape) - after :]
    if len(axes) != len(shape):
        return f"{list(tensor.shape)} has {len(shape)} axes, not the {len(axes)} of {' '.join(axes)!r}"
    for name, size in zip(axes, shape, strict=True):
        wanted = int(name) if name.isdigit() else sizes.setdefault(name, size)
        if wanted != size:
            return f"{name} is {size}" + ("" if name.isdigit() else f", not {wanted}")
    return ""


def is_one_row(inputs: Inputs) -> bool:
    """Whether there is one row, and no other axis of one that might be the batch."""
    shapes = [[*tensor.shape] for tensor in inputs.tensors()]
    return bool(shapes) and all(shape[:1] == [1] and shape.count(1) == 1 for shape in shapes)


def is_listed(output: object, size: int) -> bool:
    """Whether an output is a list of what each row gives, whose own first axis is none of rows."""
    items = output if isinstance(output, list | tuple) and len(output) == size > 1 else ()
    return bool(items) and all(isinstance(one, Tensor) and one.shape[:1] != (size,) for one in items)
