"""What overflows because it is as large as it says."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from layersmith import runner
from layersmith.probe.inputs import Inputs
from layersmith.registry import load
from layersmith.subject import Subject


class DrawsItsCode(nn.Module):
    """A deviation of 1e50 is what the encoder says for such an input."""

    def __init__(self, *, draws: bool = True) -> None:
        super().__init__()
        self.draws = draws
        self.weight = nn.Parameter(torch.linspace(0.01, 0.02, 6))

    def forward(self, x: Tensor) -> Tensor:
        deviation = (x * self.weight).abs().exp()
        noise = torch.randn_like(x) if self.draws else x
        return (x + noise * deviation).tanh() + deviation / deviation.clamp_min(1)


def asked(*, draws: bool) -> bool:
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    subject = Subject("draws", lambda _: DrawsItsCode(draws=draws), lambda _: Inputs((x.clone(),)))
    return bool(runner.ask(subject, load("nonfinite-output")).findings)


def test_the_deviation_of_noise_may_overflow() -> None:
    assert not asked(draws=True)
    assert asked(draws=False)
