"""Any module can be put into a mode, whatever it has made of `train` and `eval`."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from layersmith.probe.modes import heeds_mode, in_mode


class Overrides(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout()

    def train(self, loader: list[Tensor], epochs: int) -> None:  # type: ignore[override]
        raise AssertionError

    def eval(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return x


@pytest.mark.parametrize("training", [True, False])
def test_a_mode_reaches_every_submodule(training: bool) -> None:
    for module in (Overrides(), nn.Sequential(nn.Dropout())):
        in_mode(module, training=training)
        assert {part.training for part in module.modules()} == {training}


class ByFunction(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, 0.5, self.training)


class ByName(nn.Module):
    @property
    def noise(self) -> float:
        return 1.0 if getattr(self, "training", False) else 0.0

    def forward(self, x: Tensor) -> Tensor:
        return x + self.noise * torch.ones_like(x)


def _hooked() -> nn.Module:
    linear = nn.Linear(2, 2)
    linear.register_forward_hook(lambda module, _, out: out * 2 if module.training else out)
    return linear


@pytest.mark.parametrize(
    "module",
    [
        nn.BatchNorm1d(2),
        nn.Sequential(nn.Dropout(0.1)),
        nn.LSTM(2, 2),
        ByFunction(),
        ByName(),
        Overrides(),
        _hooked(),
        torch.nn.utils.parametrizations.spectral_norm(nn.Linear(2, 2)),
    ],
)
def test_a_module_that_reads_its_mode_heeds_it(module: nn.Module) -> None:
    assert heeds_mode(nn.Sequential(module))


@pytest.mark.parametrize("module", [nn.Linear(2, 2), nn.Conv1d(2, 2, 1), nn.Dropout(0.0), nn.LayerNorm(2)])
def test_a_module_without_a_mode_does_not(module: nn.Module) -> None:
    assert not heeds_mode(nn.Sequential(module))
