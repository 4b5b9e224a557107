"""Which parameters an output depends on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from layersmith.probe.inputs import Inputs
from layersmith.probe.reach import reach


class _Recomputed(torch.autograd.Function):
    """Forgets what a layer does, and does it once more in backward, as reversible networks do."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: nn.Module) -> Tensor:
        ctx.layer = layer
        ctx.save_for_backward(x)
        with torch.no_grad():
            return layer(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        with torch.enable_grad():
            again = x.detach().requires_grad_()
            torch.autograd.backward(ctx.layer(again), gradient)
        return again.grad, None


class Reversible(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.unused = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return _Recomputed.apply(self.first(x), self.second)


def test_what_a_function_gives_gradients_to_in_its_backward_is_reached() -> None:
    found = reach(Reversible(), Inputs((torch.randn(4, 6),)), seed=0)
    assert found is not None
    assert found.parameters == {"first.weight", "first.bias", "second.weight", "second.bias"}
