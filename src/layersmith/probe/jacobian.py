"""The Jacobian of a map that takes each row to one of the same size, by autograd."""

from __future__ import annotations

import torch
from torch import Tensor


def log_determinants(y: Tensor, x: Tensor) -> Tensor | None:
    """Log |det dy/dx| of each row; None where rows are mixed, sizes differ, or the map loses something."""
    rows, width = len(x), x[0].numel()
    if y.shape[:1] != x.shape[:1] or y.numel() != x.numel() or not y.requires_grad:
        return None
    columns = torch.stack(
        [
            torch.autograd.grad(one.sum(), x, retain_graph=True)[0].reshape(rows, width)
            for one in y.reshape(rows, width).unbind(1)
        ],
        dim=1,
    )
    found = torch.linalg.slogdet(columns.detach().double()).logabsdet
    return found if bool(found.isfinite().all()) else None
