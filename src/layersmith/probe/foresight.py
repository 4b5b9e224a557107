"""What weights alone foretell: the spread after each layer, and the depth that a signal survives."""

from __future__ import annotations

import math
from collections import Counter

import torch
from torch import nn

from layersmith.errors import UsageError
from layersmith.probe.activation import elementwise
from layersmith.probe.followed import Layer
from layersmith.probe.inputs import Inputs
from layersmith.probe.layers import layers
from layersmith.probe.mean_field import mean_field
from layersmith.probe.quadrature import expectation

DIGITS = 2  # of log10 of a variance, by which integrals are remembered


def foretold(module: nn.Module, inputs: Inputs) -> dict[str, dict[str, float]]:
    """`predicted_std` of each layer's result, by the path of its submodule, fans of weights, and `signal_depth`.

    Weights count as independent draws of their own mean square, signals as normal: Poole et al. 2016. A layer
    that reads no other layer directly gets its input's rms from the one call that shows the layers.
    """
    found = [layer for layer in layers(module, inputs) if not layer.is_reused]
    second = _Moments()
    variances: dict[str, float] = {}
    numbers: dict[str, dict[str, float]] = {}
    for layer in found:
        arriving = layer.input_rms**2
        if layer.reads is not None and layer.reads.weight in variances:
            arriving = second(layer.reads, variances[layer.reads.weight])
        variances[layer.weight] = _factor(module, layer) ** 2 * arriving + _bias(module, layer) ** 2
        # torch's own layers have theirs from `weights`; of others only the operation tells.
        if not layer.is_convolution:
            fan_out = module.get_parameter(layer.weight).numel() / max(layer.fan_in, 1)
            numbers[layer.weight] = {"fan_in": float(layer.fan_in), "fan_out": fan_out}
        if layer.path and layer.path not in numbers:
            numbers[layer.path] = {"predicted_std": math.sqrt(variances[layer.weight])}
    depth = _depth(module, found)
    return numbers | ({"": {"signal_depth": depth}} if depth is not None else {})


class _Moments:
    """E f(sqrt(q) z)^2 of a layer's activation f, remembered: the layers of a stack are much alike."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, float], float] = {}

    def __call__(self, layer: Layer, variance: float) -> float:
        if not layer.expression.steps or not 0 < variance < math.inf:
            return variance
        near = 10 ** round(math.log10(variance), DIGITS)
        key = (layer.expression.key, near)
        if key not in self.known:
            self.known[key] = self._integrate(layer, near) / near
        return self.known[key] * variance

    @staticmethod
    def _integrate(layer: Layer, variance: float) -> float:
        try:
            f = elementwise(layer.expression)
        except UsageError:
            return variance
        scale = math.sqrt(variance)
        return expectation(lambda z: f(scale * z).square())


def _depth(module: nn.Module, found: list[Layer]) -> float | None:
    """Of a stack: at least two hidden layers of one activation, each followed by another layer."""
    hidden = [one.reads for one in found if one.reads is not None and one.reads.expression.steps]
    if not hidden or any(layer.is_normalised or layer.ends_branch for layer in found):
        return None
    (key, _), *_ = Counter(layer.expression.key for layer in hidden).most_common()
    stack = [layer for layer in hidden if layer.expression.key == key]
    readers = [layer for layer in found if layer.reads in stack]
    factors = sorted(_factor(module, layer) for layer in readers)
    biases = sorted(_bias(module, layer) for layer in readers)
    middle = len(readers) // 2
    try:
        field = mean_field(stack[0].expression, weight_gain=factors[middle], bias_std=biases[middle])
    except UsageError:
        return None
    return field.depth


def _factor(module: nn.Module, layer: Layer) -> float:
    weight = module.get_parameter(layer.weight).detach()
    return float(weight.double().square().mean().sqrt()) * math.sqrt(layer.fan_in)


def _bias(module: nn.Module, layer: Layer) -> float:
    if not layer.bias:
        return 0.0
    bias: torch.Tensor = module.get_parameter(layer.bias).detach()
    return float(bias.double().square().mean().sqrt())
