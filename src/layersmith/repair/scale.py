"""Scaling weights that are drawn: to a wanted spread on real inputs, or by the number of branches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.probe.contractions import CONVOLUTIONS, PRODUCTS, aten
from layersmith.probe.followed import Layer
from layersmith.probe.inputs import Inputs
from layersmith.probe.layers import unfused
from layersmith.probe.operations import Operations
from layersmith.probe.surroundings import preserved


def fit(module: nn.Module, inputs: Inputs, wanted: Mapping[str, float]) -> None:
    """Scale weights, in one call of the module, so that the results of their products have the wanted std.

    A product is linear in its weight: so it is measured, the weight scaled in place and the product done again,
    and what follows already sees the new signal. A weight that is used again keeps its scale.
    """
    if not wanted:
        return
    modes = [(part, part.training) for part in nn.Module.modules(module)]
    with preserved(seed=0), torch.enable_grad(), unfused(module):
        try:
            with _Fit(module.eval(), wanted):
                inputs.call(module)
        finally:
            for part, was_training in modes:
                part.training = was_training


def shrink_branches(module: nn.Module, chosen: list[Layer]) -> set[str]:
    """Divide the last weight and bias of each residual branch by the square root of their number.

    A branch that a normalisation or a scale ends is left alone. One that ends in an activation shifts its
    sum by a mean that adds up: there the number itself divides.

    Returns:
        The names of those weights.
    """
    ends = [
        layer
        for layer in chosen
        if layer.ends_branch and not (layer.is_normalised or layer.is_scaled or layer.is_reused)
    ]
    for layer in ends:
        factor = len(ends) if layer.expression.steps else math.sqrt(len(ends))
        for name in (layer.weight, layer.bias):
            if name:
                module.get_parameter(name).div_(factor)
    return {layer.weight for layer in ends}


class _Fit(Operations):
    """Scales a weight when it is first used."""

    def __init__(self, module: nn.Module, wanted: Mapping[str, float]) -> None:
        super().__init__()
        self.open = {
            module.get_parameter(name).untyped_storage().data_ptr(): (module.get_parameter(name), std)
            for name, std in wanted.items()
        }

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Do the operation, scale its weight, do it again."""
        output = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        operands = PRODUCTS.get(packet) or ((0, 1) if packet in CONVOLUTIONS else ())
        for index in operands:
            found = self.open.pop(args[index].untyped_storage().data_ptr(), None)
            if found is None:
                continue
            parameter, std = found
            measured = _std(output, args, packet)
            if 0 < measured < math.inf:
                with torch.no_grad():
                    parameter.mul_(std / measured)
                output = func(*args, **(kwargs or {}))
        return output


def _std(output: Tensor, args: tuple[Any, ...], packet: Any) -> float:
    """Of the product alone: a bias is not what the weight can answer for."""
    bias = args[0] if packet in {aten.addmm, aten.baddbmm} else args[2] if packet in CONVOLUTIONS else None
    product = output.detach().double()
    if isinstance(bias, Tensor):
        extra = bias.double()
        product = product - (extra.view(-1, *[1] * (output.ndim - 2)) if packet in CONVOLUTIONS else extra)
    return float(product.std(correction=0))
