"""Starting weights with which a feed-forward stack of any depth keeps its signal and its gradient.

The even part of the activation f is what spoils a deep stack: its mean pushes every input to the same output,
and its scatter makes each random matrix multiply by a little more or less than meant. Three known remedies:

- Units in pairs with opposite pre-activations u and -u, read with opposite weights, show the next layer
  only g(u) = f(u) - f(-u), the odd part. For ReLU, GELU, SiLU and all others whose g is linear, the whole
  stack then begins as an orthogonal map (Balduzzi et al. 2017, Shattered Gradients, "looks linear"). Where f
  itself is odd up to a constant (tanh, sigmoid), partners would remain copies of each other for ever; there
  the biases take the constant away instead, and g = f - E[f].
- Orthogonal weights, which change no length (Saxe et al. 2014, Exact Solutions).
- On the edge of chaos (Schoenholz et al. 2017, Deep Information Propagation), weights of gain a and biases of
  variance b^2 keep the gradient by a^2 E[g'(u)^2] = 1 and the variance q of the pre-activations by
  a^2 E[g(u)^2] + b^2 = q, u ~ N(0, q). By Poincare's inequality b^2 is never negative where g is continuous.
  Where g jumps, only the signal is kept, with b = 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from layersmith.errors import UsageError
from layersmith.nn.linear import Linear
from layersmith.probe.activation import derivative, elementwise
from layersmith.probe.closeness import INTEGRAL, NEGLIGIBLE
from layersmith.probe.gain import gain
from layersmith.probe.quadrature import Function, expectation


@dataclass(frozen=True, slots=True)
class Balance:
    """How to draw the weights of a stack, given inputs of second moment 1."""

    variance: float  # of the pre-activations of each hidden layer
    weight_gain: float
    bias_std: float
    offset: float  # the activation's mean, which the biases take away
    is_paired: bool


def balance_(layers: Sequence[Linear], activation: nn.Module) -> None:
    """Draw new weights and biases for linear layers, each of which is followed by an elementwise activation.

    The signal after each activation and the gradient that arrives there then stay within a factor of 2 of
    the first over 50 layers of one width, 64 or more. Between layers of different width no weights can keep
    both; the signal is kept. Nor can they where the activation jumps (Hardshrink: the gradient shrinks) or is
    flat near 0 and steep beyond (Softshrink, Tanhshrink: what is a little too large grows further).

    Random numbers come from torch's global generator. Each layer's `gain` becomes the activation's, so that
    resetting one of them alone does the usual. On the meta device nothing happens.

    Raises:
        UsageError: if the activation is not elementwise, or constant.
    """
    if not layers or layers[0].weight.is_meta:
        return
    own_gain = float(gain(activation))
    can_pair = min(layer.out_features for layer in layers) > 1
    balance = balance_of(elementwise(activation), len(layers), can_pair=can_pair, name=f"{activation!r}")
    for index, layer in enumerate(layers):
        layer.gain = own_gain
        _fill(layer, balance, is_first=index == 0)


def balance_of(f: Function, depth: int, *, can_pair: bool, name: str) -> Balance:
    """How to draw the weights of `depth` hidden layers with the elementwise activation f, called `name`.

    Raises:
        UsageError: if f is constant.
    """

    def odd(z: Tensor) -> Tensor:
        return f(z) - f(-z)

    size = expectation(lambda z: f(z).square())
    odd_size = expectation(lambda z: odd(z).square())
    even_mean = expectation(lambda z: f(z) + f(-z))
    even_size = expectation(lambda z: (f(z) + f(-z) - even_mean).square())
    if odd_size + even_size <= NEGLIGIBLE * size:
        raise UsageError(f"{name} is constant: no signal can pass it")
    is_paired = can_pair and min(odd_size, even_size) > NEGLIGIBLE * size
    g = odd if is_paired else f
    balance = _critical(g, 1 / size, is_paired=is_paired)
    if balance.bias_std**2 <= NEGLIGIBLE * balance.variance:
        return balance  # g is linear: pre-activations of any size will do, these give activations of size 1
    return _critical(g, _straight(g, depth), is_paired=is_paired)


def _straight(g: Function, depth: int) -> float:
    """The variance q of pre-activations at which two inputs stay apart through so many layers.

    At each layer they grow alike by about q^2 for a smooth g such as tanh: q = 1 / sqrt(depth) will do. A g whose
    slope has a kink at 0, as softsign's, needs less; it gets what makes its slope vary as little as that of tanh.
    """
    slope, variance = derivative(g), 1 / math.sqrt(depth)
    at_zero = expectation(lambda z: slope(NEGLIGIBLE * z).square())
    while variance > NEGLIGIBLE:
        scale = math.sqrt(variance)
        steepness = expectation(lambda z: slope(scale * z).square())  # noqa: B023 - used before it changes
        if not steepness < (1 - 2 / math.sqrt(depth)) * at_zero:
            break
        variance /= 2
    return variance


def _critical(g: Function, variance: float, *, is_paired: bool) -> Balance:
    scale, slope = math.sqrt(variance), derivative(g)
    mean = expectation(lambda z: g(scale * z))
    spread = expectation(lambda z: (g(scale * z) - mean).square())
    steepness = expectation(lambda z: slope(scale * z).square())
    squared = variance / max(spread, variance * steepness if steepness < math.inf else 0.0)
    excess = variance - squared * spread
    bias_variance = excess if excess > INTEGRAL * variance else 0.0  # below, it is the integrals' rounding
    return Balance(
        variance, math.sqrt(squared), math.sqrt(bias_variance), 0.0 if is_paired else mean, is_paired
    )


@torch.no_grad()
def _fill(layer: Linear, balance: Balance, *, is_first: bool) -> None:
    """Copy in a matrix V of half the size as [[V, -V], [-V, V]], only that partners are neighbours.

    In a layer of odd width the last unit has no partner, and the next hidden layer does not read it at first.
    """
    wide = torch.promote_types(layer.weight.dtype, torch.float32)  # there is no QR in half precision
    like = torch.empty(layer.out_features, layer.in_features, dtype=wide, device=layer.weight.device)
    factor = math.sqrt(balance.variance) if is_first else balance.weight_gain
    weight = factor * mirrored(
        like, is_paired=balance.is_paired, reads_pairs=balance.is_paired and not is_first
    )
    layer.weight.copy_(weight)
    if layer.bias is not None and not is_first:  # the first layer's is zero, as its inputs are no activations
        drawn = paired_noise(like[:, 0], is_paired=balance.is_paired)
        layer.bias.copy_(balance.bias_std * drawn - balance.offset * weight.sum(-1))
    elif layer.bias is not None:
        layer.bias.zero_()


def mirrored(
    like: Tensor, *, is_paired: bool, reads_pairs: bool, generator: torch.Generator | None = None
) -> Tensor:
    """A random matrix [out, in] that changes no length, of units in pairs u and -u, reading such pairs or not."""
    signs = like.new_tensor([1.0, -1.0] if is_paired else [1.0])
    read = like.new_tensor([1.0, -1.0] if reads_pairs else [1.0])
    pairs, single = divmod(like.shape[0], len(signs))
    columns, unread = divmod(like.shape[1], len(read))
    rows = torch.kron(orthogonal(pairs, columns, like, generator), torch.outer(signs, read))
    last = torch.kron(orthogonal(single, columns, like, generator), read)
    return F.pad(torch.cat([rows, last]), (0, unread))


def paired_noise(like: Tensor, *, is_paired: bool, generator: torch.Generator | None = None) -> Tensor:
    """Numbers from N(0, 1), the second of each pair being minus the first; an odd one at the end is 0."""
    signs = like.new_tensor([1.0, -1.0] if is_paired else [1.0])
    pairs, single = divmod(len(like), len(signs))
    return F.pad(torch.kron(like.new_empty(pairs).normal_(generator=generator), signs), (0, single))


def orthogonal(rows: int, columns: int, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Rows, or else columns, are orthogonal; the mean square of a row is 1, so that the signal is kept."""
    matrix = nn.init.orthogonal_(like.new_empty(rows, columns), generator=generator)
    return matrix * max(1.0, math.sqrt(rows / max(columns, 1)))
