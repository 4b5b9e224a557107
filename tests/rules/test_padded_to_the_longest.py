"""A batch is as long as its longest row: that other rows change how long a row's output is, is no leak."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from layersmith import runner
from layersmith.probe.inputs import Inputs
from layersmith.registry import load
from layersmith.subject import Subject


class PadsToTheLongest(nn.Module):
    """Each row keeps as many steps as it has."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        longest = int(lengths.max())
        within = torch.arange(longest) < lengths.amax(1, keepdim=True)
        return x[:, :longest].sum(-1) * within


class CentersOverTheBatch(PadsToTheLongest):
    """With the fault that the rule is for."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return super().forward(x - x.mean(0), lengths)


@pytest.mark.parametrize(("cls", "leaks"), [(PadsToTheLongest, False), (CentersOverTheBatch, True)])
def test_only_the_steps_that_a_row_has_in_both_batches_are_compared(
    cls: type[nn.Module], leaks: bool
) -> None:
    rows = torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([[6, 2], [1, 5], [3, 4], [2, 2]])
    subject = Subject(cls.__name__, lambda _seed: cls(), lambda _seed: Inputs((rows, lengths)))
    assert bool(runner.ask(subject, load("batch-leak")).findings) is leaks
