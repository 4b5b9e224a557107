"""What a call runs, and what it would have read in the branches that it passes over."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from layersmith.probe import executed
from layersmith.probe.inputs import Inputs


class Attends(nn.Module):
    cache: nn.Module | None = None

    def forward(self, x: Tensor, places: Tensor) -> Tensor:
        if self.cache is not None:
            x = self.cache(x, places)
        return x.relu()


class HandsOn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = Attends()

    def forward(self, x: Tensor, places: Tensor, noise: Tensor) -> Tensor:
        y: Tensor = self.attention(x, places)
        return y


@pytest.mark.parametrize(("index", "expected"), [(0, True), (1, True), (2, False)])
def test_an_input_that_a_part_would_read_in_another_branch(index: int, expected: bool) -> None:
    inputs = Inputs((torch.randn(2, 3), torch.arange(3), torch.randn(2)))
    assert executed.is_read_elsewhere(HandsOn(), inputs, inputs.args[index]) is expected


class TakesApart(nn.Module):
    def forward(self, x: Tensor, is_wide: bool = False) -> Tensor:
        place, direction, _rest = x.split([2, 2, 1], dim=-1)
        y = place.relu()
        if is_wide:
            y = torch.cat([y, direction], -1)
        return y


class TakesInVain(nn.Module):
    def forward(self, x: Tensor, is_wide: bool = False) -> Tensor:
        place, _direction = x.split([2, 3], dim=-1)
        if is_wide:
            x = x.relu()
        return place.relu()


@pytest.mark.parametrize(("cls", "expected"), [(TakesApart, True), (TakesInVain, False)])
def test_a_part_of_an_input_that_another_branch_would_read(cls: type[nn.Module], expected: bool) -> None:
    inputs = Inputs((torch.randn(4, 5),))
    part = torch.tensor([False, False, True, True, True]).expand(4, 5)
    assert executed.is_part_read_elsewhere(cls(), inputs, inputs.args[0], part) is expected


class ComparesFirst(nn.Module):
    """The boxes count once an anchor is near one."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Linear(3, 3)

    def forward(self, scores: Tensor, boxes: Tensor, unused: Tensor) -> Tensor:
        box = boxes[:, :2]
        centre = box.mean(1)
        hidden = self.scale(unused)
        is_near = centre > 100
        if is_near.any():
            scores = scores + centre[is_near].sum()
            hidden = hidden + 1
        return scores


@pytest.mark.parametrize(("index", "expected"), [(1, True), (2, False)])
def test_what_is_made_of_an_input_counts_as_the_input(index: int, expected: bool) -> None:
    inputs = Inputs((torch.randn(4, 5), torch.randn(4, 3), torch.randn(4, 3)))
    assert executed.is_read_elsewhere(ComparesFirst(), inputs, inputs.args[index]) is expected
