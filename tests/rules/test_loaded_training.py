"""What is loaded goes on training where it was saved: healthy modules that keep something beside their state."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from layersmith import runner
from layersmith.finding import Outcome, Result, Severity
from layersmith.load.build import subject_of_factory
from layersmith.registry import load


def ask(cls: type[nn.Module]) -> Result:
    return runner.ask(subject_of_factory(cls, torch.randn(4, 6)), load("state-dict-loss"))


class CountsItsCalls(nn.Module):
    """For a log."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.calls, self.last = nn.Linear(6, 6), 0, 0.0

    def forward(self, x: Tensor) -> Tensor:
        self.calls, self.last = self.calls + 1, float(x.mean())
        return nn.functional.dropout(self.linear(x), 0.1, self.training)


class KeepsStatistics(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.utils.spectral_norm(nn.Linear(6, 6))
        self.rest = nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(0.2), nn.LazyLinear(3))
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.rest(self.first(x))


class CodesWithAFlagAmongTheBuffers(nn.Module):
    codes: Tensor
    initted: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("initted", torch.zeros(1))
        self.register_buffer("codes", torch.zeros(3, 6))
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.training and not self.initted:
            self.codes.copy_(x[torch.randint(len(x), (3,))])
            self.initted.fill_(1)
        nearest = torch.cdist(x, self.codes).argmin(-1)
        if self.training:
            self.codes.lerp_(x.mean(0).expand(3, 6), 0.01)
        return x + (self.codes[nearest] - x).detach()


class CarriesItsStateInTraining(nn.Module):
    """Truncated backpropagation through time: a state belongs to its sequence, not to the model."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(6, 6)
        self.state: Tensor | None = None
        self.has_state = False

    def forward(self, x: Tensor) -> Tensor:
        state = self.cell(x, self.state if self.training and self.has_state else None)
        self.state, self.has_state = state.detach(), True
        return state


class BuildsItsTableOnce(nn.Module):
    table: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.is_built = False

    def forward(self, x: Tensor) -> Tensor:
        if not self.is_built:
            self.table, self.is_built = torch.linspace(0, 1, x.shape[-1], dtype=x.dtype), True
        return x * self.table


@pytest.mark.parametrize(
    "cls",
    [
        CountsItsCalls,
        KeepsStatistics,
        CodesWithAFlagAmongTheBuffers,
        CarriesItsStateInTraining,
        BuildsItsTableOnce,
    ],
)
def test_what_training_does_not_go_by_need_not_be_saved(cls: type[nn.Module]) -> None:
    result = ask(cls)
    assert result.outcome is Outcome.PASS, (result.why, result.findings)


class ScaleOfTheFirstBatch(nn.Module):
    """Beside statistics, which move on in each call."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6)
        self.scale = nn.Parameter(torch.ones(6))
        self.init_state, self.calls = 0, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.training and self.init_state == 0:
            self.scale.data.copy_(1 / x.std(0))
            self.init_state = 1
        return self.norm(x) * self.scale


def test_a_number_that_says_whether_to_begin_is_named_and_no_other() -> None:
    (finding,) = ask(ScaleOfTheFirstBatch).findings
    assert (finding.where, finding.severity) == ("init_state", Severity.WARNING)
    assert "calls" not in finding.message
