"""The jvp leg: forward-mode derivatives against backward, where an autograd.Function defines its own."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad

from layersmith.probe.gradients.joint import Direction
from layersmith.probe.gradients.projection import dot
from layersmith.probe.gradients.station import Station


def defines_jvp(function: type) -> bool:
    """Whether an autograd.Function has a jvp of its own."""
    return getattr(function, "jvp", None) is not torch.autograd.Function.jvp


def slope_by_jvp(station: Station, direction: Direction) -> float:
    """<u, J v> by forward mode.

    Raises:
        NotImplementedError: if some operation has no forward derivative.
    """
    specimen = station.specimen
    with forward_ad.dual_level():
        duals: dict[int, Tensor] = {}
        named: dict[str, Tensor] = {}
        for leaf, block in zip(specimen.leaves, direction.blocks, strict=True):
            plain = leaf.tensor.detach()
            dual = plain if block is None else forward_ad.make_dual(plain, block)
            duals[id(leaf.tensor)] = dual
            if leaf.kind == "parameter":
                named[leaf.name] = dual
        call = specimen.inputs.map(lambda tensor: duals.get(id(tensor), tensor))
        outputs = specimen.outputs(call=call, parameters=named)
        tangents = [forward_ad.unpack_dual(one).tangent for one in station.projection.pick(outputs)]
    return dot(station.projection.along, tangents)
