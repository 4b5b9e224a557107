"""Parameters and layers that only methods name which lead to no output."""

import pytest
import torch
from torch import Tensor, nn

import layersmith
from layersmith.finding import Severity


class StartsItsScale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.scale_of_all = nn.Parameter(torch.empty(6))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.ones_(self.scale_of_all)
        self.linear.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


class ForgetsItsBias(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.table_of_places = nn.Parameter(torch.zeros(6))

    def places_of_the_table(self) -> Tensor:
        return self.table_of_places.flip(0)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


class GivesItsPenalty(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.log_variance = nn.Parameter(torch.zeros(6))

    def penalty_to_add(self) -> Tensor:
        return self.log_variance.exp().sum()

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


class Hidden(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.decoder_of_all = nn.Linear(6, 6), nn.Linear(6, 2)
        self.init_weights()

    def init_weights(self) -> None:
        nn.init.zeros_(self.decoder_of_all.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


def decoded(model: Hidden, x: Tensor) -> Tensor:
    return model.decoder_of_all(model(x))


def a_step(model: GivesItsPenalty, x: Tensor) -> Tensor:
    return model(x).square().mean() + model.penalty_to_add()


@pytest.mark.parametrize(
    ("cls", "where"),
    [(StartsItsScale, "scale_of_all"), (ForgetsItsBias, "table_of_places")],
)
def test_a_method_that_leads_nowhere_uses_nothing(cls: type[nn.Module], where: str) -> None:
    ((_, _, finding),) = layersmith.check(cls, torch.randn(4, 6), select=["unused-parameter"]).findings()
    assert (finding.where, finding.severity) == (where, Severity.WARNING)


@pytest.mark.parametrize("cls", [GivesItsPenalty, Hidden])
def test_what_the_file_uses_elsewhere_is_used(cls: type[nn.Module]) -> None:
    assert layersmith.check(cls, torch.randn(4, 6), select=["unused-parameter"]).ok
