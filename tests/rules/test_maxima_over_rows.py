"""A softmax that is made safe by the largest number of the batch: rows of small numbers are lost beside a loud one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import layersmith
from layersmith.finding import Outcome


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


class LargestOfAStep(nn.Module):
    """Takes no batch: one unbatched sequence."""

    def forward(self, x: Tensor) -> Tensor:
        return x - x.max(dim=-1, keepdim=True).values


def test_without_a_batch_no_row_is_made_loud() -> None:
    report = layersmith.check(LargestOfAStep(), torch.randn(5, 6), select=["batch-leak"])
    assert not [*report.findings()]
    assert all(result.outcome is not Outcome.BROKEN for one in report.subjects for result in one.results)
