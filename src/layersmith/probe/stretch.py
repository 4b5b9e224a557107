"""How much a function stretches the distance of near points, in the direction that it stretches most."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

STEPS = 6


def widest(function: Callable[[Tensor], Tensor], x: Tensor, *, seed: int, near: float) -> Tensor:
    """|f(x + h v) - f(x)| / |h v|: a lower bound of the Lipschitz constant.

    v comes from power iteration: forward the difference quotient, backward autograd.
    """
    generator = torch.Generator().manual_seed(seed)
    direction = torch.randn(x.shape, generator=generator).to(x)
    leaf = x.detach().clone().requires_grad_()
    start = function(leaf)
    best = start.new_zeros(())
    for _ in range(STEPS):
        step = near * max(1.0, float(x.norm())) * torch.nn.functional.normalize(direction.reshape(-1), dim=0)
        moved = function(x + step.reshape(x.shape)) - start.detach()
        best = torch.maximum(best, moved.norm() / step.norm())
        if not start.requires_grad:
            break
        (direction,) = torch.autograd.grad((start * moved.detach()).sum(), leaf, retain_graph=True)
    return best
