"""The gain of an activation: what weights must multiply by so that it neither swells nor shrinks a signal."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from layersmith.errors import UsageError
from layersmith.probe.closeness import INTEGRAL, NEGLIGIBLE, gap
from layersmith.probe.surroundings import preserved

Function = Callable[[Tensor], Tensor]

REACH = 12.0  # the normal density is 2e-32 there
PANELS = 48  # of width 1/2: the kinks of torch's own activations (0, 0.5, 1, 3, 6) are edges
ORDER = 16  # nodes a panel, both ends included
INSIDE = 1e-9  # how far inside the end nodes are, in half panels: there may be a jump or pole at an edge
HALVINGS = 100  # by then all but a pole has settled
MOST_PANELS = 512  # of those not yet settled, the worst: more are rounding noise, as of a float32 activation


def gain(activation: Function) -> float:
    """The factor g = sqrt(1 / E[f(z)^2]), z ~ N(0, 1), for an elementwise activation f, module or function.

    Weights of std g / sqrt(fan_in) after the activation (or before it, if it is positively homogeneous as
    ReLU is) keep the second moment of the signal: He et al. 2015, Delving Deep into Rectifiers. Unlike
    torch.nn.init.calculate_gain it is computed, not looked up, so it knows every activation; for tanh it is
    1.5925 where torch has an empirical 5/3.

    A module is used as in eval mode, through a copy in float64; its parameters count, and it is not changed.

    Raises:
        UsageError: if the activation is not elementwise, is zero everywhere, or has no finite second moment.

    Example:
        >>> import torch
        >>> from layersmith.probe.gain import gain
        >>> round(gain(torch.nn.ReLU()), 6), round(gain(torch.tanh), 6), round(gain(lambda x: x**3), 6)
        (1.414214, 1.592537, 0.258199)
    """
    function = elementwise(activation)
    return _gain(expectation(lambda z: function(z).square()), f"{activation!r}")


def backward_gain(activation: Function) -> float:
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
    return _gain(expectation(lambda z: slope(z).square()), f"the derivative of {activation!r}")


def expectation(function: Function) -> float:
    """The integral E[function(z)], z ~ N(0, 1), for a function of a float64 vector; inf where it diverges.

    Gauss-Lobatto quadrature on panels, each halved until halving changes nothing: right to about 1e-8 of the
    integral of |function|, also at kinks and jumps. Gauss-Hermite quadrature has no such means: on 100 nodes
    the gain of tanh is right to 1e-10, but that of Hardtanh comes out wrong by 3e-3, of Hardshrink by 1e-2.

    Example:
        >>> from layersmith.probe.gain import expectation
        >>> round(expectation(lambda z: z.square()), 9), round(expectation(lambda z: (z > 1.0).double()), 9)
        (1.0, 0.158655254)
    """
    edges = torch.linspace(-REACH, REACH, PANELS + 1, dtype=torch.float64, device="cpu")
    left, right = edges[:-1], edges[1:]
    whole = _integrals(function, left, right)
    size = float(whole.abs().sum())
    if not math.isfinite(size) or float(whole[[0, -1]].abs().sum()) > NEGLIGIBLE * size:
        return math.inf  # what lies at the ends of the range would go on beyond it
    settled = 0.0
    for _ in range(HALVINGS):
        middle = (left + right) / 2
        left, right = torch.cat([left, middle]), torch.cat([middle, right])
        halves = _integrals(function, left, right)
        change = (halves.unflatten(0, (2, -1)).sum(0) - whole).abs()
        worst = change.topk(min(MOST_PANELS, len(change))).values
        is_rough = ((change > INTEGRAL * size) & (change >= worst[-1])).repeat(2)
        settled += float(halves[~is_rough].sum())
        left, right, whole = left[is_rough], right[is_rough], halves[is_rough]
        if len(left) == 0:
            return settled
    return math.inf  # a pole


def elementwise(activation: Function) -> Function:
    """The activation as a function of float64 vectors that changes neither its argument nor anything global.

    Raises:
        UsageError: if the value at a point depends on others (softmax) or on chance, or is not one number.
    """
    # An activation must not change under our hands, nor keep us to float32.
    frozen = (
        copy.deepcopy(activation).double().cpu().eval() if isinstance(activation, nn.Module) else activation
    )

    def function(z: Tensor) -> Tensor:
        with _laboratory():
            value: Tensor = frozen(z.clone())  # it may work in place
            return value.to(torch.float64)

    _require_elementwise(function, f"{activation!r}")
    return function


def derivative(function: Function) -> Function:
    """The derivative of an elementwise function, by autograd; zero where autograd knows no way back."""

    def slope(z: Tensor) -> Tensor:
        with _laboratory():
            z = z.detach().clone().requires_grad_()
            value = function(z)
            if not value.requires_grad:
                return torch.zeros_like(z)
            (found,) = torch.autograd.grad(value, z, torch.ones_like(value), allow_unused=True)
            return torch.zeros_like(z) if found is None else found.detach()

    return slope


def _gain(second_moment: float, what: str) -> float:
    if not 0.0 < second_moment < math.inf:
        fate = (
            "zero everywhere"
            if second_moment == 0.0
            else "infinite, or not a number, for inputs from N(0, 1)"
        )
        raise UsageError(f"{what} has no gain: its second moment is {fate}")
    return math.sqrt(1.0 / second_moment)


def _integrals(function: Function, left: Tensor, right: Tensor) -> Tensor:
    """Of function times the normal density, over each panel."""
    nodes, weights = _lobatto()
    half = (right - left).unsqueeze(-1) / 2
    z = left.unsqueeze(-1) + half * (nodes + 1)
    value = function(z.flatten()).detach().view_as(z)
    density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
    return (value * density * weights * half).sum(-1)


@functools.cache
def _lobatto() -> tuple[Tensor, Tensor]:
    """Nodes and weights on [-1, 1]: with the ends among them, no jump hides between a node and an end."""
    legendre = np.polynomial.Legendre.basis(ORDER - 1)
    nodes = np.concatenate([[-1.0], legendre.deriv().roots(), [1.0]])
    weights = 2 / (ORDER * (ORDER - 1) * legendre(nodes) ** 2)
    return torch.from_numpy(nodes.clip(INSIDE - 1, 1 - INSIDE)), torch.from_numpy(weights)


def _require_elementwise(function: Function, name: str) -> None:
    z = torch.linspace(-3.1, 3.3, 64, dtype=torch.float64, device="cpu")
    some = slice(5, 60, 3)
    try:
        value, value_of_some = function(z), function(z[some])
    except Exception as error:
        raise UsageError(
            f"{name} is not an elementwise activation: called on 64 numbers it raised {error!r}"
        ) from error
    if value.shape != z.shape:
        raise UsageError(
            f"{name} is not an elementwise activation: of 64 numbers it makes {list(value.shape)}"
        )
    # float32, because an activation may compute in it, and then rounds one number and many differently
    if gap(value.float()[some], value_of_some.float()).is_open:
        raise UsageError(
            f"{name} is not an elementwise activation: a value depends on the others, or on chance"
        )


@contextmanager
def _laboratory() -> Iterator[None]:
    """Gradients on, tensors on the CPU, and nothing global changed, whatever the caller has switched on."""
    with preserved(), torch.inference_mode(mode=False), torch.enable_grad(), torch.device("cpu"):
        yield
