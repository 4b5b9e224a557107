"""Where depth goes: the mean-field theory of wide random networks, for any elementwise activation.

Each layer draws weights from N(0, weight_gain^2 / fan_in), biases from N(0, bias_std^2). So the variance q of
the pre-activations moves by V(q) = weight_gain^2 E f(sqrt(q) z)^2 + bias_std^2, the correlation of two inputs
by a map whose slope at 1 is chi = weight_gain^2 E f'(sqrt(q) z)^2, and chi also multiplies the squared
gradient. Poole et al. 2016, Exponential expressivity in deep neural networks through transient chaos;
Schoenholz et al. 2017, Deep information propagation.
"""

from __future__ import annotations

import enum
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from layersmith.errors import UsageError
from layersmith.probe.activation import derivative, elementwise
from layersmith.probe.closeness import CRITICAL
from layersmith.probe.quadrature import Function, expectation, laboratory

SMALLEST, LARGEST = 1e-12, 1e12  # a variance beyond has vanished or exploded
BISECTIONS = 60
HERMITE_NODES = 128  # a dimension, for the correlation of two inputs


class Phase(enum.StrEnum):
    """What becomes of two inputs that differ."""

    ORDERED = "ordered"  # they grow alike, and the gradient vanishes
    CRITICAL = "critical"  # they stay apart and together as they are: any depth can be trained
    CHAOTIC = "chaotic"  # they grow unlike, and the gradient explodes


@dataclass(frozen=True, slots=True)
class MeanField:
    """The fate of signal and gradient in a deep stack of wide layers that all start alike.

    Depths are the number of layers over which something changes by a factor e; inf where it does not, or
    more slowly than exponentially.
    """

    weight_gain: float
    bias_std: float
    variance: float  # q*, which the pre-activations tend to; 0 if they vanish, inf if they explode
    chi: float  # what a layer multiplies the squared gradient, and the distance of near inputs, by
    correlation: float  # c*, which that of two inputs tends to
    phase: Phase
    signal_depth: float  # over which the difference of two inputs is forgotten, or the signal itself is lost
    gradient_depth: float  # over which the squared gradient vanishes or explodes

    @property
    def depth(self) -> float:
        """How many layers a signal survives, forward and backward."""
        return min(self.signal_depth, self.gradient_depth)


def mean_field(
    activation: Function | str, *, weight_gain: float = 1.0, bias_std: float = 0.0, start: float = 1.0
) -> MeanField:
    """What becomes of signal and gradient in a deep stack with this activation after each layer.

    Args:
        activation: elementwise, f.
        weight_gain: std of the weights times sqrt(fan_in). torch.nn.Linear starts with 1 / sqrt(3).
        bias_std: std of the biases.
        start: variance of the first layer's pre-activations; where there are several fixed points it decides.

    Raises:
        UsageError: if the activation is not elementwise, or a spread is negative.

    Example:
        >>> from layersmith.probe.mean_field import mean_field
        >>> mean_field("relu", weight_gain=2**0.5).phase.value
        'critical'
        >>> round(mean_field("tanh", weight_gain=3**-0.5).depth, 2)  # torch's default: nothing survives
        0.91
    """
    _require_spreads(weight_gain, bias_std)
    f = elementwise(activation)
    step = variance_map(f, weight_gain=weight_gain, bias_std=bias_std)
    variance = _fixed_point(step, start)
    at = min(max(variance, SMALLEST), LARGEST)
    chi = weight_gain**2 * _second(derivative(f), at)
    growth = step(at) / at if variance in {0.0, math.inf} else 1.0
    phase = _phase(chi)
    correlation, slope = 1.0, chi
    if phase is Phase.CHAOTIC and growth == 1.0:
        correlation, slope = _apart(f, at, weight_gain, bias_std)
    signal_depth = min(_depth(slope), _depth(growth))
    return MeanField(weight_gain, bias_std, variance, chi, correlation, phase, signal_depth, _depth(chi))


def edge_of_chaos(activation: Function | str, *, bias_std: float = 0.0) -> MeanField:
    """The mean field at the weight gain that, with these biases, neither forgets nor explodes: chi = 1.

    For tanh and biases of variance 0.05 the weights' is 1.76 (Schoenholz et al. 2017). Without biases it is 1
    for all activations of slope 1 at 0 whose variance then tends to 0, as tanh, and sqrt(2) for ReLU. The
    variance is that of the fixed point, which the first layer should start with: some activations, as GELU
    and SiLU, have others.

    Raises:
        UsageError: if the activation is not elementwise, or no weights are on the edge with these biases.

    Example:
        >>> from layersmith.probe.mean_field import edge_of_chaos
        >>> round(edge_of_chaos("tanh", bias_std=0.05**0.5).weight_gain ** 2, 2)
        1.76
    """
    _require_spreads(1.0, bias_std)
    f = elementwise(activation)
    slope = derivative(f)

    def gain_at(variance: float) -> float:
        steepness = _second(slope, variance)
        if not 0 < steepness < math.inf:
            raise UsageError(f"{activation!r} has no edge of chaos: E f'^2 is {steepness:g}")
        return 1 / math.sqrt(steepness)

    def bias_excess(log_variance: float) -> float:
        variance = math.exp(log_variance)
        return variance - gain_at(variance) ** 2 * _second(f, variance) - bias_std**2

    low, high = math.log(SMALLEST), math.log(LARGEST)
    if abs(bias_excess(0.0)) <= CRITICAL:
        return mean_field(activation, weight_gain=gain_at(1.0), bias_std=bias_std)
    while high > low and not bias_excess(high) > 0:
        high -= 1.0
    if high <= low:
        raise UsageError(f"{activation!r} has no edge of chaos with biases of std {bias_std:g}")
    variance = math.exp(_root(bias_excess, low, min(high, _first_positive(bias_excess, high))))
    return mean_field(activation, weight_gain=gain_at(variance), bias_std=bias_std, start=variance)


def variance_map(f: Function, *, weight_gain: float, bias_std: float) -> Callable[[float], float]:
    """The variance of a layer's pre-activations as a function of the last layer's."""
    return lambda variance: weight_gain**2 * _second(f, variance) + bias_std**2


def correlation_map(
    f: Function, *, variance: float, weight_gain: float, bias_std: float
) -> Callable[[float], float]:
    """The correlation of two inputs' pre-activations as a function of the last layer's, at a fixed point."""

    def step(correlation: float) -> float:
        return (weight_gain**2 * _product(f, variance, correlation) + bias_std**2) / variance

    return step


def _second(f: Function, variance: float) -> float:
    scale = math.sqrt(variance)
    return expectation(lambda z: f(scale * z).square())


def _product(f: Function, variance: float, correlation: float) -> float:
    """E f(u) f(v) of normal u, v of this variance and correlation: Gauss-Hermite in both directions."""
    nodes, weights = _hermite()
    u, other = torch.meshgrid(nodes, nodes, indexing="ij")
    v = correlation * u + math.sqrt(max(0.0, 1 - correlation**2)) * other
    scale = math.sqrt(variance)
    with laboratory():
        product = f(scale * nodes).detach().unsqueeze(-1) * f((scale * v).flatten()).detach().view_as(v)
    return float(weights @ product @ weights)


@functools.cache
def _hermite() -> tuple[Tensor, Tensor]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(HERMITE_NODES)
    return torch.from_numpy(nodes), torch.from_numpy(weights / weights.sum())


def _fixed_point(step: Callable[[float], float], start: float) -> float:
    """Where the variance goes from the start: the first fixed point in the direction that it takes."""
    if abs(step(start) - start) <= CRITICAL * start:
        return start
    factor = 2.0 if step(start) > start else 0.5
    near, far = start, start * factor
    while SMALLEST <= far <= LARGEST:
        if (step(far) > far) != (factor > 1):
            log = _root(lambda x: step(math.exp(x)) - math.exp(x), math.log(near), math.log(far))
            return math.exp(log)
        near, far = far, far * factor
    return math.inf if factor > 1 else 0.0


def _apart(f: Function, variance: float, weight_gain: float, bias_std: float) -> tuple[float, float]:
    """In the chaotic phase: the correlation below 1 that two inputs tend to, and the map's slope there."""
    step = correlation_map(f, variance=variance, weight_gain=weight_gain, bias_std=bias_std)
    low, high = 0.0, 1.0 - CRITICAL**0.5
    if step(low) <= low:
        correlation = 0.0
    elif step(high) >= high:
        correlation = high
    else:
        correlation = _root(lambda c: step(c) - c, low, high)
    slope = weight_gain**2 * _product(derivative(f), variance, correlation)
    return correlation, slope


def _phase(chi: float) -> Phase:
    if abs(chi - 1) <= CRITICAL:
        return Phase.CRITICAL
    return Phase.ORDERED if chi < 1 else Phase.CHAOTIC


def _depth(factor: float) -> float:
    """The number of layers in which a factor a layer makes e, or 1/e."""
    if factor in {0.0, math.inf}:
        return 0.0
    return math.inf if abs(factor - 1) <= CRITICAL else 1 / abs(math.log(factor))


def _first_positive(function: Callable[[float], float], high: float) -> float:
    """The smallest of the points 1 apart below `high` from which on the function is positive."""
    while high - 1 > math.log(SMALLEST) and function(high - 1) > 0:
        high -= 1
    return high


def _root(function: Callable[[float], float], left: float, right: float) -> float:
    """Where the function changes sign between two points, or the end that it comes nearest at."""
    sign = function(right) > 0
    for _ in range(BISECTIONS):
        middle = (left + right) / 2
        left, right = (left, middle) if (function(middle) > 0) == sign else (middle, right)
    return (left + right) / 2


def _require_spreads(weight_gain: float, bias_std: float) -> None:
    if not (0 < weight_gain < math.inf and 0 <= bias_std < math.inf):
        raise UsageError(
            f"weight_gain must be positive and bias_std not negative, not {weight_gain:g} and {bias_std:g}"
        )
