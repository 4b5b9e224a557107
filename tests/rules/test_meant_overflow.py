"""What overflows because it is as large as it says."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from layersmith import runner
from layersmith.probe.inputs import Inputs
from layersmith.registry import load
from layersmith.subject import Subject


class DrawsItsCode(nn.Module):
    """A deviation of 1e50 is what the encoder says for such an input."""

    def __init__(self, draw: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.draw = draw
        self.weight = nn.Parameter(torch.linspace(0.01, 0.02, 6))

    def forward(self, x: Tensor) -> Tensor:
        deviation = (x * self.weight).abs().exp()
        return (x + self.draw(x) * deviation).tanh() + deviation / deviation.clamp_min(1)


def asked(draw: Callable[[Tensor], Tensor]) -> bool:
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    subject = Subject("draws", lambda _: DrawsItsCode(draw), lambda _: Inputs((x.clone(),)))
    return bool(runner.ask(subject, load("nonfinite-output")).findings)


@pytest.mark.parametrize("draw", [torch.randn_like, torch.rand_like, lambda x: torch.rand(x.shape)])
def test_the_deviation_of_noise_may_overflow(draw: Callable[[Tensor], Tensor]) -> None:
    assert not asked(draw)


def test_another_factor_may_not() -> None:
    assert asked(lambda x: x)
