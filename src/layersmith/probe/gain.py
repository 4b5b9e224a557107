"""The gain of an activation: what weights must multiply by so that it neither swells nor shrinks a signal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from layersmith.errors import UsageError
from layersmith.probe.activation import NotElementwiseError, derivative, elementwise, named, slope_of
from layersmith.probe.quadrature import Function, expectation, expectations, laboratory
from layersmith.probe.sampling import sampled


@dataclass(frozen=True, slots=True, eq=False)
class Gain(float):
    """What an activation f does to z ~ N(mean, std^2); as a number it is the forward gain.

    Example:
        >>> import layersmith
        >>> gain = layersmith.gain("tanh")
        >>> round(gain / 64**0.5, 4), round(gain.backward, 4)
        (0.1991, 1.4674)
    """

    forward: float  # 1 / sqrt(E f(z)^2)
    backward: float  # 1 / sqrt(E f'(z)^2); inf where no gradient passes
    mean: float  # E f(z), by which the signal is shifted
    share_of_zeros: float  # the probability that f(z) = 0
    standard_error: float = 0.0  # of `forward` and, relatively alike, of the others; 0 where it is integrated
    note: str = ""  # why it was sampled

    def __new__(cls, forward: float, *_: object, **__: object) -> Self:
        """The number."""
        return float.__new__(cls, forward)


def gain(activation: Function | str, *, mean: float = 0.0, std: float = 1.0, features: int = 64) -> Gain:
    """The factor g = sqrt(1 / E[f(z)^2]), z ~ N(0, 1), for any activation f: module, function or name.

    Weights of std g / sqrt(fan_in) before the activation keep the second moment of the signal: exactly if f
    is positively homogeneous as ReLU is, else in the long run (He et al. 2015, Delving Deep into Rectifiers).
    Unlike torch.nn.init.calculate_gain it is computed, not looked up, so it knows every activation; for tanh
    it is 1.5925 where torch has an empirical 5/3.

    A module is used as in eval mode, through a copy in float64; its parameters count, and it is not changed.
    Elementwise functions are integrated, to about 1e-8. What mixes features (GLU, softmax, a normalisation)
    is sampled on rows of independent numbers; `standard_error` and `note` then say so.

    Args:
        activation: f.
        mean: of z.
        std: of z, positive.
        features: a row's length where f mixes features and does not itself say how many.

    Raises:
        UsageError: if the name is unknown; if f mixes rows or is random, is zero everywhere, or has no finite
            second moment; if std is not positive.

    Example:
        >>> import torch
        >>> from layersmith.probe.gain import gain
        >>> round(gain(torch.nn.ReLU()), 6), round(gain("tanh"), 6), round(gain(lambda x: x**3), 6)
        (1.414214, 1.592537, 0.258199)
    """
    if not (std > 0 and math.isfinite(std) and math.isfinite(mean)):
        raise UsageError(
            f"z ~ N(mean, std^2) needs a finite mean and a positive std, not {mean:g} and {std:g}"
        )
    activation = named(activation)
    with laboratory():
        try:
            function = elementwise(activation)
        except NotElementwiseError as error:
            return _by_sampling(activation, mean, std, features, error)
        return _by_integration(function, mean, std, f"{activation!r}")


def backward_gain(activation: Function | str) -> float:
    """The factor sqrt(1 / E[f'(z)^2]), z ~ N(0, 1): weights of this gain keep the size of the gradient.

    Derivatives are autograd's, hence also those of a function that defines its own backward.

    Raises:
        UsageError: if the activation is not elementwise, or its derivative is zero or has no second moment.

    Example:
        >>> import torch
        >>> from layersmith.probe.gain import backward_gain
        >>> round(backward_gain(torch.nn.ReLU()), 6), round(backward_gain(torch.tanh), 6)
        (1.414214, 1.467414)
    """
    slope = derivative(elementwise(activation))
    return _factor(expectation(lambda z: slope(z).square()), f"the derivative of {activation!r}")


def _by_integration(function: Function, mean: float, std: float, name: str) -> Gain:
    def moments(z: Tensor) -> Tensor:
        x = (mean + std * z).requires_grad_()
        value = function(x)
        slope = slope_of(value, x)
        value = value.detach()
        # Quadrature is right to a share of the integral: one more than a probability makes that absolute.
        return torch.stack([value.square(), slope.square(), value, 1.0 + (value == 0)])

    second, steepness, shift, zeros = expectations(moments)
    return Gain(_factor(second, name), _inverse_root(steepness), shift, min(max(zeros - 1, 0.0), 1.0))


def _by_sampling(activation: Function, mean: float, std: float, features: int, error: UsageError) -> Gain:
    try:
        found = sampled(activation, mean, std, features)
    except UsageError as reason:
        raise UsageError(f"{error}; nor can it be sampled: {reason}") from error
    forward = _factor(found.second_moment, f"{activation!r}")
    return Gain(
        forward,
        _inverse_root(found.steepness),
        found.mean,
        found.share_of_zeros,
        forward / 2 * found.relative_error,
        f"sampled on rows of shape {list(found.shape)}: it is not elementwise",
    )


def _factor(second_moment: float, what: str) -> float:
    if not 0.0 < second_moment < math.inf:
        fate = (
            "zero everywhere"
            if second_moment == 0.0
            else "infinite, or not a number, for inputs from N(0, 1)"
        )
        raise UsageError(f"{what} has no gain: its second moment is {fate}")
    return math.sqrt(1.0 / second_moment)


def _inverse_root(value: float) -> float:
    """1 / sqrt(value): inf where no gradient passes, 0 where its second moment diverges."""
    return 1 / math.sqrt(value) if value > 0 else math.inf
