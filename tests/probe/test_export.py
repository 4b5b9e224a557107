"""Whether a module runs whatever the rows of its inputs are, before a program is written down."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from layersmith.probe.export import export_of, runs_open
from layersmith.probe.inputs import Inputs


class Keeps(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        self.last = x
        return super().forward(x)


class CountsRows(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.shape[0] % 2 else x * 3


class FixesRows(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * int(x.shape[0])


class ReadsValues(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class NamesRows(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], 2, 2).flatten(1)


@pytest.mark.parametrize(
    ("build", "is_open"),
    [
        (lambda: nn.Linear(4, 2), True),
        (NamesRows, True),
        (lambda: nn.LSTM(4, 3, batch_first=True), True),
        (CountsRows, False),
        (FixesRows, False),
        (ReadsValues, False),
        (lambda: Keeps(4, 2), False),
    ],
    ids=["linear", "names rows", "recurrent", "counts rows", "fixes rows", "reads values", "keeps its input"],
)
def test_it_runs_whatever_its_rows_are(build: Callable[[], nn.Module], is_open: bool) -> None:
    def fresh() -> nn.Module:
        torch.manual_seed(0)
        return build().eval()

    inputs = Inputs((torch.randn(5, 4),))
    assert runs_open(fresh(), inputs, 0, seed=0) is is_open
    assert export_of(fresh, inputs, seed=0).holds_for_any_size or not is_open
