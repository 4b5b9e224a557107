"""Inputs that inference made wider than they are used say nothing of the features beyond."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from layersmith import runner
from layersmith.finding import Outcome
from layersmith.load.build import subject_of_class
from layersmith.probe.inputs import Inputs
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


class ScalesByThePast(nn.Module):
    """What lies before the horizon: nothing, where a horizon is made up."""

    def __init__(self, horizon: int) -> None:
        super().__init__()
        self.horizon = horizon

    def forward(self, x: Tensor) -> Tensor:
        return x / x[:, : -self.horizon].abs().mean(1, keepdim=True)


def test_a_mean_of_nothing_is_inferences_doing() -> None:
    made_up = subject_of_class(ScalesByThePast)
    assert "ScalesByThePast(32)(f32[5,32])" in made_up.inferred_from
    assert runner.ask(made_up, load("nonfinite-output")).outcome is Outcome.SKIP
    said = replace(made_up, inferred_from="")
    assert runner.ask(said, load("nonfinite-output")).findings


class TurnsByPlace(nn.Module):
    """Of a single step there is nothing to attend to, however it is turned."""

    def forward(self, x: Tensor, angles: Tensor) -> Tensor:
        assert x.shape[1] == 1 or angles.shape[0] > 1
        turned = x * angles.cos()
        return (turned @ turned.mT).softmax(-1) @ x


def test_what_tells_steps_apart_is_asked_of_several() -> None:
    one = replace(
        subject_of_class(TurnsByPlace), inputs=lambda _: Inputs((torch.randn(5, 1, 6), torch.rand(1, 6)))
    )
    assert not runner.ask(one, load("ignored-input")).findings
    assert runner.ask(replace(one, inferred_from=""), load("ignored-input")).findings
