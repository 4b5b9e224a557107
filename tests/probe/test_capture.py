"""One trace of dynamo's, of which several rules ask."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from layersmith.probe.capture import capture
from layersmith.probe.inputs import Inputs


class Keeps(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        self.last = x
        return super().forward(x)


class CountsRows(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.shape[0] % 2 else x * 3


class NamesRows(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], 2, 2).flatten(1)


@pytest.mark.parametrize(
    ("build", "holds"),
    [
        (lambda: nn.Linear(4, 2), True),
        (nn.GELU, True),
        (NamesRows, False),  # which says nothing against it: its graph was made for five
        (CountsRows, False),
        (lambda: Keeps(4, 2), False),
    ],
    ids=["linear", "gelu", "names its rows", "counts its rows", "keeps its input"],
)
def test_a_graph_without_a_number_of_rows_holds_for_any(build: Callable[[], nn.Module], holds: bool) -> None:
    def fresh() -> nn.Module:
        torch.manual_seed(0)
        return build().eval()

    found = capture(fresh, Inputs((torch.randn(5, 4),)), 0, seed=0)
    assert not found.refusal
    assert found.holds_for_any_size is holds
