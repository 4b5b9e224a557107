"""The weight of a layer as a matrix [out, in], whichever way round the module keeps it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from layersmith.probe.followed import Layer


def shape_of(layer: Layer, parameter: Tensor) -> tuple[int, int]:
    """Outputs and inputs of one group; a kernel's places are not counted."""
    shape = parameter.shape if layer.is_convolution else parameter.shape[-2:]
    first, second = shape[0], shape[1]
    if not layer.is_convolution:
        return (second, first) if layer.is_input_first else (first, second)
    return (second, first // layer.groups) if layer.is_input_first else (first // layer.groups, second)


def empty(layer: Layer, parameter: Tensor, *, is_dense: bool) -> Tensor:
    """A matrix [out, in] of one group, to be drawn; dense: each place of a kernel is an input of its own."""
    rows, columns = shape_of(layer, parameter)
    places = parameter[0, 0].numel() if layer.is_convolution and is_dense else 1
    wide = torch.promote_types(parameter.dtype, torch.float32)  # there is no QR in half precision
    return torch.empty(rows, columns * places, dtype=wide, device=parameter.device)


def write(layer: Layer, parameter: Tensor, matrices: list[Tensor], *, is_dense: bool) -> None:
    """Copy matrices [out, in], one a group (or one a matrix of a batched product), into the parameter."""
    if not layer.is_convolution:
        turned = [matrix.mT if layer.is_input_first else matrix for matrix in matrices]
        parameter.copy_(torch.stack(turned).view(parameter.shape))
        return
    kernel = parameter.shape[2:]
    shaped = [_kernel(matrix, kernel, is_dense=is_dense) for matrix in matrices]
    if layer.is_input_first:  # a transposed convolution
        shaped = [one.transpose(0, 1) for one in shaped]
    parameter.copy_(torch.cat(shaped))


def count(layer: Layer, parameter: Tensor) -> int:
    """How many matrices the parameter holds."""
    return layer.groups if layer.is_convolution else parameter[..., 0, 0].numel()


def total_of_inputs(layer: Layer, parameter: Tensor) -> Tensor:
    """The sum of each output's weights."""
    if not layer.is_convolution:
        return parameter.sum(-2 if layer.is_input_first else -1)
    return parameter.flatten(1).sum(1)


def _kernel(matrix: Tensor, kernel: torch.Size, *, is_dense: bool) -> Tensor:
    """[out, in, *kernel]: all places, or the centre only (Xiao et al. 2018, delta-orthogonal)."""
    if is_dense:
        return matrix.view(len(matrix), -1, *kernel)
    sides = [side for size in reversed(kernel) for side in (size // 2, size - 1 - size // 2)]
    return functional.pad(matrix.view(*matrix.shape, *[1] * len(kernel)), sides)
