"""What plain torch.nn does with as many layers and parameters: nn.Linear and nn.ReLU in turn."""

from __future__ import annotations

import bisect
from itertools import pairwise

from torch import nn

from layersmith.training.datasets import Dataset
from layersmith.training.fitting import placement


def baseline_for(module: nn.Module, data: Dataset) -> nn.Sequential:
    """A net as deep as the module has matrices, of the width that brings its parameter count closest."""
    like = placement(module)
    widths = _widths(data, depth=max(1, matrices(module)), parameters=parameter_count(module))
    layers: list[nn.Module] = [nn.Flatten()] if data.x.ndim > 2 else []  # noqa: PLR2004 - rows and features
    for in_features, out_features in pairwise(widths):
        layers += [nn.Linear(in_features, out_features, device=like.device, dtype=like.dtype), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def parameter_count(module: nn.Module) -> int:
    """How many numbers training changes; a tied parameter counts once."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def matrices(module: nn.Module) -> int:
    """How many trained parameters have two dimensions or more: the depth, of a net without branches."""
    return sum(p.ndim > 1 for p in module.parameters() if p.requires_grad)


def _widths(data: Dataset, *, depth: int, parameters: int) -> list[int]:
    """The sizes from features to outputs, of the net of that depth closest to the count.

    A single matrix has no width to choose, so it is weighed against two.
    """
    nets = [_closest(data, depth, parameters)]
    if depth == 1:
        nets.append(_closest(data, 2, parameters))
    return min(nets, key=lambda widths: abs(_count(widths) - parameters))


def _closest(data: Dataset, depth: int, parameters: int) -> list[int]:
    def net(hidden: int) -> list[int]:
        return [data.features, *[hidden] * (depth - 1), data.outputs]

    hidden = range(1, parameters + 1)
    above = bisect.bisect_left(hidden, parameters, key=lambda width: _count(net(width)))
    near = [net(width) for width in (above, above + 1) if width]
    return min(near, key=lambda widths: abs(_count(widths) - parameters))


def _count(widths: list[int]) -> int:
    return sum(before * after + after for before, after in pairwise(widths))
