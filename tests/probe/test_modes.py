"""Any module can be put into a mode, whatever it has made of `train` and `eval`."""

from __future__ import annotations

import pytest
from torch import Tensor, nn

from layersmith.probe.modes import in_mode


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
