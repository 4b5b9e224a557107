"""Inputs that inference made wider than they are used say nothing of the features beyond."""

from __future__ import annotations

import pytest
from torch import Tensor, nn

from layersmith import runner
from layersmith.load.build import subject_of_class
from layersmith.registry import load


class ComparesTheFirstChannel(nn.Module):
    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        assert prediction.size() == target.size()
        prediction, target = prediction[:, 0], target[:, 0]
        return 1 - (2 * prediction * target).sum() / (prediction.sum() + target.sum() + 1)


class ForgetsTheFirstChannel(nn.Module):
    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        assert prediction.size() == target.size()
        prediction, target = prediction[:, 2:], target[:, 2:]
        return 1 - (2 * prediction * target).sum() / (prediction.sum() + target.sum() + 1)


@pytest.mark.parametrize(("cls", "count"), [(ComparesTheFirstChannel, 0), (ForgetsTheFirstChannel, 2)])
def test_of_two_inputs_of_one_shape_both_may_be_too_wide(cls: type[nn.Module], count: int) -> None:
    assert len(runner.ask(subject_of_class(cls), load("ignored-input")).findings) == count
