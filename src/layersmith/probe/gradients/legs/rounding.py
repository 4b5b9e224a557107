"""Float32 emulated in float64: every operation, forward and backward, has its result rounded."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from layersmith.probe import tree
from layersmith.probe.operations import Operations


class RoundingToFloat32(Operations):
    """What float32 does to a computation, without the branches a backward takes for float32 itself.

    A gradient that is off in float32 and just as much here is ill conditioned; one that is off in float32
    only is wrong there.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Make the call, then round what it newly made."""
        given = {one.untyped_storage().data_ptr() for one in tree.tensors((args, kwargs or {}))}
        result = func(*args, **(kwargs or {}))

        def rounded(one: Tensor) -> Tensor:
            if one.dtype != torch.float64 or one.untyped_storage().data_ptr() in given:
                return one
            return one.to(torch.float32).to(torch.float64)

        return tree.map_tensors(rounded, result)
