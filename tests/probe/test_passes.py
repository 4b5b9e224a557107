"""A pass forward and back, of a module that lets only some of its inputs ask for a gradient."""

from __future__ import annotations

import torch
from torch import nn

from layersmith.probe.inputs import Inputs
from layersmith.probe.passes import there_and_back


def test_a_target_that_may_not_ask_for_a_gradient_is_not_asked() -> None:
    inputs = Inputs.of((torch.randn(4, 3), torch.randn(4, 3).sign()))
    found = there_and_back(nn.SoftMarginLoss(), inputs, seed=0)
    gradient = found.gradients["input[0]"]
    assert list(found.gradients) == ["input[0]"]
    assert gradient is not None
    assert gradient.abs().min() > 0
