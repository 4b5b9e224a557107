"""Drawing weights layer by layer: by gain, or orthogonal on the edge of chaos."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor, nn

from layersmith.errors import UsageError
from layersmith.nn.initialization import Balance, balance_of, mirrored, paired_noise
from layersmith.probe.activation import elementwise
from layersmith.probe.followed import Layer
from layersmith.probe.gain import gain
from layersmith.repair import matrix

LINEAR = Balance(1.0, 1.0, 0.0, 0.0, is_paired=False)


def draw_gain(module: nn.Module, chosen: list[Layer], generator: torch.Generator | None) -> None:
    """N(0, g^2 / fan_in) for the gain g of the activation that follows; biases become zero."""
    known: dict[str, float] = {}
    for layer in chosen:
        key = layer.expression.key
        if key not in known:
            known[key] = _gain(layer)
        parameter = module.get_parameter(layer.weight)
        drawn = torch.empty_like(parameter, dtype=torch.promote_types(parameter.dtype, torch.float32))
        drawn.normal_(std=known[key] / math.sqrt(max(layer.fan_in, 1)), generator=generator)
        parameter.copy_(drawn)
        _zero_bias(module, layer)


def draw_orthogonal(
    module: nn.Module, chosen: list[Layer], generator: torch.Generator | None, *, depth: int
) -> dict[str, float]:
    """Orthogonal matrices; on the edge of chaos for `depth` layers one after the other, plain ones for 0.

    Returns:
        The std that the result of a layer should have, for those whose input no theory foretells.
    """
    balances = _balances(module, chosen, depth) if depth else {}
    free = {}
    for layer in chosen:
        own = balances.get(layer.weight, LINEAR)
        source = balances.get(layer.reads.weight) if layer.reads is not None else None
        parameter = module.get_parameter(layer.weight)
        if not layer.is_plain:
            _draw_normal(parameter, layer, generator)
            _zero_bias(module, layer)
            free[layer.weight] = math.sqrt(own.variance)
            continue
        _draw_matrices(parameter, layer, own, source, generator)
        _draw_bias(module, layer, own, source, generator)
        if source is None:
            free[layer.weight] = math.sqrt(own.variance)
    return free


def _gain(layer: Layer) -> float:
    try:
        found = gain(layer.expression)
    except UsageError:  # what follows has no gain: nothing can be made up for
        return 1.0
    return float(found) if not found.note else 1.0


def _balances(module: nn.Module, chosen: list[Layer], depth: int) -> dict[str, Balance]:
    """For each layer with an activation that has one."""
    hidden = [
        layer for layer in chosen if layer.expression.steps and layer.is_plain and not layer.is_normalised
    ]

    @functools.cache
    def balance(key: str, *, can_pair: bool) -> Balance:
        layer = next(layer for layer in hidden if layer.expression.key == key)
        try:
            f = elementwise(layer.expression)
            return balance_of(f, depth, can_pair=can_pair, name=str(layer.expression))
        except UsageError:  # softmax and its like, or a constant: drawn as if nothing followed
            return LINEAR

    return {
        layer.weight: balance(
            layer.expression.key, can_pair=_can_pair(layer, module.get_parameter(layer.weight))
        )
        for layer in hidden
    }


def _can_pair(layer: Layer, parameter: Tensor) -> bool:
    return layer.groups == 1 and parameter.ndim >= 2 and matrix.shape_of(layer, parameter)[0] > 1  # noqa: PLR2004


def _draw_matrices(
    parameter: Tensor, layer: Layer, own: Balance, source: Balance | None, generator: torch.Generator | None
) -> None:
    # A layer that reads activations keeps its place; the first one may look at all of its patch.
    is_dense = source is None or not layer.keeps_size
    like = matrix.empty(layer, parameter, is_dense=False)
    dense = matrix.empty(layer, parameter, is_dense=is_dense)
    reads_pairs = source is not None and source.is_paired and layer.groups == 1
    factor = math.sqrt(own.variance) if source is None else source.weight_gain * _ratio(own, source)
    places = dense.shape[1] // max(like.shape[1], 1)
    drawn = []
    for _ in range(matrix.count(layer, parameter)):
        if reads_pairs and places > 1:  # pairs are neighbouring channels, and each has all places
            narrow = dense[:, : like.shape[1] // 2 * places]
            one = mirrored(narrow, is_paired=own.is_paired, reads_pairs=False, generator=generator)
            one = _reading_pairs(one, places, dense)
        else:
            one = mirrored(dense, is_paired=own.is_paired, reads_pairs=reads_pairs, generator=generator)
        drawn.append(factor * one)
    matrix.write(layer, parameter, drawn, is_dense=is_dense)


def _reading_pairs(one: Tensor, places: int, dense: Tensor) -> Tensor:
    """The matrix of half as many channels, which reads of each pair the difference."""
    wide = torch.zeros_like(dense).view(len(dense), -1, places)
    halves = one.view(len(one), -1, places)
    wide[:, 0 : 2 * halves.shape[1] : 2] = halves
    wide[:, 1 : 2 * halves.shape[1] : 2] = -halves
    return wide.flatten(1)


def _ratio(own: Balance, source: Balance) -> float:
    """What takes the variance that the source's stack keeps to the layer's own."""
    return math.sqrt(own.variance / source.variance)


def _draw_bias(
    module: nn.Module, layer: Layer, own: Balance, source: Balance | None, generator: torch.Generator | None
) -> None:
    if not layer.bias:
        return
    bias = module.get_parameter(layer.bias)
    if source is None or bias.ndim != 1:
        bias.zero_()
        return
    drawn = paired_noise(torch.empty_like(bias), is_paired=own.is_paired, generator=generator)
    noise = source.bias_std * _ratio(own, source) if layer.expression.steps else 0.0
    total = matrix.total_of_inputs(layer, module.get_parameter(layer.weight))
    bias.copy_(noise * drawn - source.offset * total)


def _draw_normal(parameter: Tensor, layer: Layer, generator: torch.Generator | None) -> None:
    parameter.copy_(torch.empty_like(parameter).normal_(std=1 / math.sqrt(layer.fan_in), generator=generator))


def _zero_bias(module: nn.Module, layer: Layer) -> None:
    if layer.bias:
        module.get_parameter(layer.bias).zero_()
