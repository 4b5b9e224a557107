"""Forwards that cannot be called without gradients are called with them."""

import torch
from torch import Tensor, nn

import layersmith


class Prompt(nn.Module):
    def __init__(self, count: int, dim: int) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.randn(count, dim) * 0.1)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(self.tokens)
        tokens.register_hook(lambda gradient: gradient * 0.1)
        return torch.cat([tokens.expand(len(x), -1, -1), x], dim=1)


def test_a_hook_on_a_gradient_is_no_reason_to_call_nothing() -> None:
    report = layersmith.check(Prompt, select=["forward-raises", "frozen-weight-crash"])
    assert report.subjects[0].status == "checked"
    assert "f32[5,7,32]" in report.subjects[0].inferred_from
