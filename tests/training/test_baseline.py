"""The baseline is as deep and as large as what it is compared with."""

from __future__ import annotations

from itertools import pairwise

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from layersmith.nn import FeedForward
from layersmith.training import load
from layersmith.training.baseline import baseline_for, parameter_count

DIGITS = load("digits")


def linears(module: nn.Module) -> int:
    return sum(isinstance(part, nn.Linear) for part in module.modules())


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(16, 200), min_size=1, max_size=4))
def test_it_has_the_depth_and_within_5_percent_the_parameters(hidden: list[int]) -> None:
    model = FeedForward(64, hidden, 10)
    baseline = baseline_for(model, DIGITS)
    assert linears(baseline) == len(hidden) + 1
    assert abs(parameter_count(baseline) / parameter_count(model) - 1) < 0.05


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 300), st.integers(2, 12))
def test_a_plain_net_is_its_own_baseline(width: int, depth: int) -> None:
    sizes = [64, *[width] * (depth - 1), 10]
    model = nn.Sequential(*[nn.Linear(a, b, device="meta") for a, b in pairwise(sizes)])
    assert parameter_count(baseline_for(model, DIGITS)) == parameter_count(model)


def test_a_single_layer_is_compared_with_a_single_layer() -> None:
    assert linears(baseline_for(nn.Linear(64, 10, bias=False), DIGITS)) == 1


def test_a_single_large_matrix_is_compared_with_a_net_of_its_size() -> None:
    model = nn.Bilinear(64, 64, 10)
    assert abs(parameter_count(baseline_for(model, DIGITS)) / parameter_count(model) - 1) < 0.05


def test_frozen_parameters_do_not_count_and_tied_ones_count_once() -> None:
    first, second = nn.Linear(64, 64), nn.Linear(64, 64)
    second.weight = first.weight
    frozen = nn.Linear(64, 64).requires_grad_(requires_grad=False)
    assert parameter_count(nn.Sequential(first, second, frozen)) == 64 * 64 + 2 * 64


def test_it_has_the_dtype_of_the_model_and_takes_rows_of_any_shape() -> None:
    data = load((torch.zeros(8, 3, 4), [0, 1] * 4))
    baseline = baseline_for(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).double(), data)
    assert baseline(data.x.double()).shape == (8, 2)
