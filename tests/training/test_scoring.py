"""Losses and metrics against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from layersmith.training import scoring


def test_class_indices_mean_cross_entropy_and_accuracy() -> None:
    outputs, y = torch.tensor([[2.0, 0.0], [0.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 0, 0])
    by_hand = (math.log(1 + math.exp(-2)) + math.log(2) + math.log(1 + math.exp(2))) / 3
    assert float(scoring.loss(outputs, y)) == pytest.approx(by_hand)
    assert scoring.metric(outputs, y) == pytest.approx(2 / 3)


def test_numbers_mean_squared_error_and_r2() -> None:
    y = torch.tensor([[1.0], [2.0], [3.0], [6.0]])
    outputs = torch.tensor([[1.0], [2.0], [5.0], [6.0]])
    assert float(scoring.loss(outputs, y)) == pytest.approx(1.0)
    assert scoring.metric(outputs, y) == pytest.approx(1 - 4 / 14)


def test_r2_is_1_for_the_truth_and_0_for_its_mean() -> None:
    y = torch.tensor([[1.0, 50.0], [2.0, 70.0], [6.0, 0.0]])
    assert scoring.metric(y, y) == 1
    assert scoring.metric(y.mean(0).expand_as(y), y) == pytest.approx(0)


def test_r2_of_constant_targets_is_a_number() -> None:
    y = torch.ones(3, 1)
    assert scoring.metric(y, y) == 1
    assert scoring.metric(y + 1, y) == 0
