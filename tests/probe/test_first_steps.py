"""What the first steps of training reach, and which slices are twins."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import layersmith
from layersmith.probe.first_steps import share_of_twins, unreached
from layersmith.probe.inputs import Inputs


def stack(*zeros: int) -> nn.Sequential:
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False))
    for index in zeros:
        nn.init.zeros_(model.get_parameter(f"{index}.weight"))
    return model


def test_one_zero_opens_after_a_step_and_two_in_a_row_never() -> None:
    inputs = [Inputs((torch.randn(8, 6),))]
    assert unreached(stack(), inputs) == set()
    assert unreached(stack(2), inputs) == set()
    assert unreached(stack(1, 2), inputs) >= {"1.weight", "2.weight"}


def test_twins_are_equal_but_for_rounding() -> None:
    assert share_of_twins(torch.ones(4, 3), 0) == 1.0
    assert share_of_twins(torch.randn(64, 3), 0) < 0.1
    assert share_of_twins(torch.eye(2).repeat(2, 1) * (1 + 1e-7 * torch.randn(4, 1)), 0) == 1.0
    assert share_of_twins(torch.ones(1, 3), 0) == 0.0


class LeavesTheNumbersAfterAStep(nn.Module):
    """A gain that starts at zero beside weights that do; one step, and the root has no number."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.gain = nn.Parameter(torch.zeros(6, 6)), nn.Parameter(torch.zeros(1, 6))

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.linear(x, self.weight) * self.gain.exp()
        return x + y + (1e-6 - y.abs()).sqrt()


def test_gradients_that_are_no_numbers_make_no_copies() -> None:
    report = layersmith.check(LeavesTheNumbersAfterAStep(), torch.randn(8, 6), select=["symmetric-init"])
    assert [*report.findings()] == []
