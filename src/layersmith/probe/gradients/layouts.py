"""The same numbers in other layouts: non-contiguous, expanded, undefined."""

from __future__ import annotations

import torch
from torch import Tensor


def scattered(tensor: Tensor) -> Tensor:
    """A copy that is not contiguous, wherever a tensor of this shape can be so; differentiable."""
    if tensor.dim() > 1 and min(tensor.shape[0], tensor.shape[-1]) > 1:
        return tensor.transpose(0, -1).contiguous().transpose(0, -1)
    if not tensor.dim():
        return tensor.clone()
    return torch.stack([tensor, tensor], dim=-1)[..., 0]


def expanded_ones(tensor: Tensor) -> Tensor:
    """Ones of this shape that all share one number in memory: what `loss.sum().backward()` passes."""
    return torch.ones((), dtype=tensor.dtype, device=tensor.device).expand(tensor.shape)
