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
        self.scale = nn.Parameter(torch.empty(6))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.ones_(self.scale)
        self.linear.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


class ForgetsItsBias(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.table = nn.Parameter(torch.zeros(6))

    def places_of_the_table(self) -> Tensor:
        return self.table.flip(0)

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


def a_step(model: GivesItsPenalty, x: Tensor) -> Tensor:
    return model(x).square().mean() + model.penalty_to_add()


@pytest.mark.parametrize(
    ("cls", "where", "severity"),
    [(StartsItsScale, "scale", Severity.ERROR), (ForgetsItsBias, "table", Severity.WARNING)],
)
def test_a_method_that_leads_nowhere_uses_nothing(
    cls: type[nn.Module], where: str, severity: Severity
) -> None:
    ((_, result, finding),) = layersmith.check(cls, torch.randn(4, 6), select=["unused-parameter"]).findings()
    assert (finding.where, finding.severity or result.severity) == (where, severity)


def test_a_method_that_something_calls_uses_what_it_names() -> None:
    assert layersmith.check(GivesItsPenalty, torch.randn(4, 6), select=["unused-parameter"]).ok
