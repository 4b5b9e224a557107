"""Saturation: how much of what reaches an activation lies where its slope is almost zero."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from layersmith.errors import UsageError
from layersmith.probe.activation import derivative, elementwise
from layersmith.probe.closeness import SATURATED
from layersmith.probe.quadrature import Function, laboratory
from layersmith.probe.surroundings import forked_generators

REACH = 6.0  # where an activation's steepest slope is looked for
MOST = 2048  # numbers of an input that are looked at


Slope = tuple[Function, Function, float]


@contextmanager
def saturation(module: nn.Module) -> Iterator[dict[str, float]]:
    """The share of saturated inputs of every elementwise activation that is called inside the block.

    Saturated is where the slope is below 5 % of the steepest and the value is not zero: ReLU's zeros are not
    counted. Names are those of `calls`: `path`, then `path#2` ...
    """
    shares: dict[str, float] = {}
    known: dict[str, Slope | None] = {}
    handles = []
    for path, part in module.named_modules():
        key = _key(part)
        if key not in known or not key:
            known[key] = _slope(part)
        found = known[key]
        if found is not None:
            handles.append(part.register_forward_pre_hook(_measuring(path, *found, shares)))
    try:
        yield shares
    finally:
        for handle in handles:
            handle.remove()


def _key(part: nn.Module) -> str:
    """The same text for activations that are the same function; "" for one with a state."""
    if [*part.parameters(), *part.buffers(), *part.children()]:
        return ""
    public = {name: value for name, value in vars(part).items() if not name.startswith("_")}
    return f"{type(part).__module__}.{type(part).__qualname__} {public}"


def _slope(part: nn.Module) -> Slope | None:
    """The activation, its slope, and how steep it gets; None for what is no activation, or is linear."""
    if [*part.children()] or any(parameter.ndim > 1 for parameter in part.parameters()):
        return None
    if isinstance(
        part, nn.Identity | nn.Dropout | nn.ReLU | nn.Flatten
    ):  # the commonest that cannot saturate
        return None
    try:
        function = elementwise(part)
    except UsageError:
        return None
    slope = derivative(function)
    with laboratory():
        steepest = float(slope(torch.linspace(-REACH, REACH, 257, dtype=torch.float64)).abs().max())
    return (function, slope, steepest) if 0 < steepest < math.inf else None


def _measuring(
    path: str, function: Function, slope: Function, steepest: float, shares: dict[str, float]
) -> Callable[[nn.Module, tuple[object, ...]], None]:
    times: Counter[str] = Counter()

    def measure(_module: nn.Module, args: tuple[object, ...]) -> None:
        times[path] += 1
        if not args or not isinstance(args[0], Tensor) or not args[0].numel():
            return
        some = args[0].detach().flatten()
        some = some[:: max(1, len(some) // MOST)].double()
        with forked_generators(), torch.enable_grad():
            is_flat = slope(some).abs() < SATURATED * steepest
            is_flat &= function(some).detach() != 0
        name = path if times[path] == 1 else f"{path}#{times[path]}"
        shares[name] = float(is_flat.double().mean())

    return measure
