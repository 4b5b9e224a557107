"""Expectations over a normal variable: panels of Gauss-Lobatto nodes, cut finer where a function is rough."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
import torch
from torch import Tensor

from layersmith.probe.closeness import INTEGRAL, NEGLIGIBLE
from layersmith.probe.surroundings import preserved

Function = Callable[[Tensor], Tensor]

REACH = 12.0  # the normal density is 2e-32 there
PANELS = 48  # of width 1/2: the kinks of torch's own activations (0, 0.5, 1, 3, 6) are edges
ORDER = 16  # nodes a panel, both ends included
ORDER_IN_PARTS = 8  # nodes, in parts of a rough panel
HIGHEST = 3  # polynomials that tell how rough a function is: of one alone a kink may be at a zero
INSIDE = 1e-9  # how far inside the end nodes are, in half panels: there may be a jump or pole at an edge
HALVES = 2  # into which every panel is cut once
PARTS = range(8, 513)  # and then again and again what is rough in it: the fewer are left, the finer
AT_ONCE = 512  # parts: so few that the time goes into the calls
NARROWEST = 2.0**-100  # by then all but a pole has settled
MOST_PANELS = 64  # of those not yet settled, the worst: more are rounding noise, as of a float32 activation


def expectation(function: Function) -> float:
    """The integral E[function(z)], z ~ N(0, 1), for a function of a float64 vector; inf where it diverges.

    Gauss-Lobatto quadrature on panels, each cut in parts until that changes nothing: right to about 1e-8 of
    the integral of |function|, also at kinks and jumps. Gauss-Hermite quadrature has no such means: on
    100 nodes the gain of tanh is right to 1e-10, but that of Hardtanh comes out wrong by 3e-3.

    Example:
        >>> from layersmith.probe.quadrature import expectation
        >>> round(expectation(lambda z: z.square()), 9), round(expectation(lambda z: (z > 1.0).double()), 9)
        (1.0, 0.158655254)
    """
    return expectations(lambda z: function(z).unsqueeze(0))[0]


def expectations(functions: Function) -> tuple[float, ...]:
    """As `expectation`, of several functions at once: from a vector [n] to rows [functions, n]."""
    with laboratory():
        edges = torch.linspace(-REACH, REACH, PANELS + 1, dtype=torch.float64)
        left, right = edges[:-1], edges[1:]
        whole, tails = _integrals(functions, left, right, ORDER)
        size = whole.abs().sum(-1)
        # What lies at the ends of the range would go on beyond it.
        ends = whole[:, [0, -1]].abs().sum(-1)
        is_lost = ~size.isfinite() | (ends > NEGLIGIBLE * size)
        size = size.masked_fill(is_lost, math.inf)
        settled = _settled(functions, left, right, whole, tails, size)
    return tuple(settled.masked_fill(is_lost, math.inf).tolist())


def _settled(
    functions: Function, left: Tensor, right: Tensor, whole: Tensor, tails: Tensor, size: Tensor
) -> Tensor:
    """The sum over all panels, in each of which cutting no longer matters; inf where it always does."""
    total = torch.zeros_like(size)
    limit = (INTEGRAL * size).unsqueeze(-1)
    # Every panel is cut once; one with a kink at once in many.
    is_smooth = (tails < limit).all(0)
    counts = torch.where(is_smooth, HALVES, _count(int((~is_smooth).sum())))
    order, width = ORDER, 1.0
    while width > NARROWEST:
        width /= int(counts.min())
        left, right, panel = _cut(left, right, counts)
        parts, tails = _integrals(functions, left, right, order)
        change = torch.zeros_like(whole).index_add_(1, panel, parts).sub_(whole).abs_()
        excess = change.div_(limit).nan_to_num_(nan=0.0, posinf=0.0).amax(0)
        is_rough = excess > 1
        if len(excess) > MOST_PANELS:
            is_rough &= excess >= excess.topk(MOST_PANELS).values[-1]
        # Of a panel with a kink only the part that holds it: the others are polynomials by now.
        is_rough = is_rough[panel] & ~(tails < limit).all(0)
        total += parts[:, ~is_rough].sum(-1)
        left, right, whole = left[is_rough], right[is_rough], parts[:, is_rough]
        if len(left) == 0:
            return total
        counts, order = torch.full((len(left),), _count(len(left))), ORDER_IN_PARTS
    # A pole: of the functions that still change there, not of the others.
    change = whole.abs().amax(-1)
    return torch.where(change > INTEGRAL * size, math.inf, total + whole.sum(-1))


def _count(panels: int) -> int:
    """Into how many parts each of these panels is cut."""
    return min(max(AT_ONCE // max(panels, 1), PARTS.start), PARTS.stop - 1)


def _cut(left: Tensor, right: Tensor, counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The edges of the parts, and which panel each is of."""
    panel = torch.arange(len(left)).repeat_interleave(counts)
    place = torch.arange(len(panel)) - (counts.cumsum(0) - counts)[panel]
    start, step = left[panel], ((right - left) / counts)[panel]
    return start + step * place, start + step * (place + 1), panel


def _integrals(functions: Function, left: Tensor, right: Tensor, order: int) -> tuple[Tensor, Tensor]:
    """Of functions times the normal density, over each panel, and of what is no polynomial in it.

    Returns:
        The integrals, and the integrals of the highest terms of the Legendre series: [functions, panels] both.
    """
    nodes, weights, highest = _lobatto(order)
    half = (right - left).unsqueeze(-1) / 2
    z = left.unsqueeze(-1) + half * (nodes + 1)
    value = functions(z.flatten()).detach().unflatten(-1, z.shape)
    density = (z * z).mul_(-0.5).exp_()
    weighted = value * density.mul_(weights).mul_(half)
    return weighted.sum(-1), (weighted @ highest).abs().amax(-1)


@functools.cache
def _lobatto(order: int) -> tuple[Tensor, Tensor, Tensor]:
    """On [-1, 1], of so many nodes: these, weights for the normal density, and the highest polynomials.

    With the ends among the nodes, no jump hides between a node and an end.
    """
    legendre = np.polynomial.Legendre.basis(order - 1)
    nodes = np.concatenate([[-1.0], legendre.deriv().roots().real, [1.0]])  # complex since NumPy 2.5
    nodes = (nodes - nodes[::-1]) / 2  # and no more symmetric to the last digit
    weights = 2 / (order * (order - 1) * legendre(nodes) ** 2) / math.sqrt(2 * math.pi)
    highest = (2 * order - 1) * np.polynomial.legendre.legvander(nodes, order - 1)[:, -HIGHEST:]
    inside = nodes.clip(INSIDE - 1, 1 - INSIDE)
    return torch.from_numpy(inside), torch.from_numpy(weights), torch.from_numpy(highest)


_is_open = ContextVar("_is_open", default=False)


@contextmanager
def laboratory() -> Iterator[None]:
    """Gradients on, tensors on the CPU, and nothing global changed, whatever the caller has switched on.

    Within another it is free: keeping what is global takes as long as an integral.
    """
    if _is_open.get():
        yield
        return
    token = _is_open.set(True)
    try:
        with preserved(), torch.inference_mode(mode=False), torch.enable_grad():
            if torch.empty(0).device.type == "cpu":  # naming a device slows every operation down
                yield
                return
            with torch.device("cpu"):
                yield
    finally:
        _is_open.reset(token)
