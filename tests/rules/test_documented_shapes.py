"""Axes that documentation names are called with sizes of their own, though another call works."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from layersmith import runner
from layersmith.finding import Outcome
from layersmith.load.build import subject_of_class
from layersmith.registry import load


class Compares(nn.Module):
    """Quantile loss. pred: (batch, horizon, n_quantiles); target: (batch, horizon)."""

    quantiles: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("quantiles", torch.tensor([0.1, 0.5, 0.9]))

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        error = target.unsqueeze(-1) - pred
        return torch.maximum(self.quantiles * error, (self.quantiles - 1) * error).mean()


class ComparesAlongTheOtherAxis(Compares):
    """Quantile loss. pred: (batch, horizon, n_quantiles); target: (batch, horizon)."""

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        error = target.unsqueeze(1) - pred
        return torch.maximum(self.quantiles * error, (self.quantiles - 1) * error).mean()


@pytest.mark.parametrize(("cls", "count"), [(Compares, 0), (ComparesAlongTheOtherAxis, 1)])
def test_an_axis_that_had_to_be_as_long_as_another_is_told(cls: type[nn.Module], count: int) -> None:
    assert len(runner.ask(subject_of_class(cls), load("documented-shapes-fail")).findings) == count


def test_a_loss_is_called_as_its_documentation_says() -> None:
    assert "(f32[5,7,3], f32[5,7])" in subject_of_class(Compares).inferred_from


class ComparesLabels(nn.Module):
    """embeddings: (B, D); labels: (B,)."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        same = labels[:, None] == labels
        return (torch.cdist(embeddings, embeddings) * same).sum() / same.sum()


def test_labels_are_whole_numbers_of_which_some_are_equal() -> None:
    assert "i64[5]<2" in subject_of_class(ComparesLabels).inferred_from


class JoinsFeatures(nn.Module):
    """x: (B, N, C), more: (B, N, C)."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.mix = nn.Linear(in_channels, 6)

    def forward(self, x: Tensor, more: Tensor) -> Tensor:
        place = x.view(*x.shape[:2], 3)
        return self.mix(torch.cat([place, more], -1))


def test_a_width_that_was_guessed_contradicts_no_documentation() -> None:
    guessed = subject_of_class(JoinsFeatures)
    assert "f32[5,7,3]" in guessed.inferred_from
    assert runner.ask(guessed, load("documented-shapes-fail")).outcome is Outcome.SKIP
    assert runner.ask(replace(guessed, inferred_from=""), load("documented-shapes-fail")).findings
