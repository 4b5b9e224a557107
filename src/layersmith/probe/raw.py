"""Raw memory: what a constructor makes by `torch.empty` and leaves to a checkpoint, or to chance."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from layersmith.probe import reading
from layersmith.probe.generators import filled_memory
from layersmith.probe.surroundings import seed_all

RAW = r"\bempty\w*\(|\bTensor\(|\bnew\("


def drawn(build: Callable[[], nn.Module], *, seed: int) -> nn.Module:
    """A module in which numbers are drawn for what its constructor leaves as raw memory: any, from run to run."""
    module = build()
    if not reading.mentions(module, RAW):
        return module
    try:
        with filled_memory():
            seed_all(seed)
            again = build()
    except Exception:  # noqa: BLE001 - it may not stand NaN
        return module
    found = [*unfilled(again).values()]
    with torch.no_grad():
        for tensor in found:
            tensor.copy_(torch.where(tensor.isnan(), _numbers(tensor), tensor))
    return again if found else module


def unfilled(module: nn.Module) -> dict[str, Tensor]:
    """Parameters, and then buffers that are saved, that hold NaN: all of them raw memory, if that was filled with it."""
    saved = module.state_dict(keep_vars=True)
    buffers = {name: one for name, one in module.named_buffers() if name in saved}
    return {
        name: one for name, one in {**dict(module.named_parameters()), **buffers}.items() if _has_nan(one)
    }


def _has_nan(tensor: Tensor) -> bool:
    is_plain = tensor.is_floating_point() and not nn.parameter.is_lazy(tensor)
    return is_plain and bool(tensor.detach().isnan().any())


def _numbers(tensor: Tensor) -> Tensor:
    """About one for a scale, and for a weight what keeps signals in size."""
    noise = torch.randn(tensor.shape, dtype=torch.float32, device=tensor.device)
    scale = 1 + 0.1 * noise if tensor.ndim < 2 else noise / math.sqrt(max(1, tensor[0].numel()))  # noqa: PLR2004
    return scale.to(tensor.dtype)
