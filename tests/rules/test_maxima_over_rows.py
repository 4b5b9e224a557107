"""A softmax that is made safe by the largest number of the batch: rows of small numbers are lost beside a loud one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import layersmith


class MadeSafeByTheLargest(nn.Module):
    """Positive features, as of a linear attention."""

    def forward(self, x: Tensor) -> Tensor:
        features = torch.exp(x - torch.max(x)) + 1e-7
        return features / features.sum(-1, keepdim=True)


class MadeSafeByItsLargest(nn.Module):
    """The same, row by row."""

    def forward(self, x: Tensor) -> Tensor:
        features = torch.exp(x - torch.amax(x, dim=-1, keepdim=True)) + 1e-7
        return features / features.sum(-1, keepdim=True)


def test_a_loud_row_shows_a_maximum_over_all() -> None:
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    assert not layersmith.check(MadeSafeByTheLargest(), x, select=["batch-leak"]).ok
    assert layersmith.check(MadeSafeByItsLargest(), x, select=["batch-leak"]).ok
