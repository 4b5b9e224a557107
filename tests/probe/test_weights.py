"""Fans follow the layer's kind, not the order of its axes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from layersmith.probe.weights import weights


@pytest.mark.parametrize(
    ("module", "fan_in", "fan_out"),
    [
        (nn.Linear(10, 5), 10, 5),
        (nn.Conv1d(6, 4, 3), 18, 12),
        (nn.Conv2d(6, 4, (3, 5), groups=2), 45, 30),
        (nn.ConvTranspose1d(6, 4, 3, groups=2), 9, 6),
    ],
    ids=str,
)
def test_fans_are_how_many_values_meet(module: nn.Linear | nn.Conv1d, fan_in: int, fan_out: int) -> None:
    found = {m.name: m.value for m in weights(module) if m.where == "weight"}
    assert (found["fan_in"], found["fan_out"]) == (fan_in, fan_out)
    assert found["weight_std"] == pytest.approx(float(module.weight.detach().std(correction=0)), rel=1e-5)


@pytest.mark.parametrize("groups", [1, 2])
def test_fan_in_is_the_gain_of_the_variance(groups: int) -> None:
    """The definition: with weights of unit variance, an output's variance is fan_in times the input's."""
    module = nn.ConvTranspose1d(200, 100, 3, groups=groups, bias=False)
    nn.init.normal_(module.weight)
    fan_in = next(m.value for m in weights(module) if m.name == "fan_in")
    assert float(module(torch.randn(2, 200, 50)).detach()[..., 3:-3].var()) == pytest.approx(fan_in, rel=0.15)


def test_of_an_unknown_module_only_the_spread_is_told() -> None:
    class Custom(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = nn.Parameter(torch.full((10, 5), 2.0))
            self.bias = nn.Parameter(torch.zeros(5))
            self.index = nn.Parameter(torch.zeros(2, 2, dtype=torch.int64), requires_grad=False)
            self.tied = self.weights

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.weights + self.bias

    module = nn.Sequential(Custom(), nn.LazyLinear(3))
    assert [(m.name, m.where, m.value) for m in weights(module)] == [("weight_std", "0.weights", 0.0)]
