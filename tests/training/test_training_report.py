"""What a report concludes from its epochs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from layersmith.training import Epoch, Run, Scaling, TrainReport


def epoch(metric: float, *, loss: float = 0.1) -> Epoch:
    return Epoch(1, loss, loss, metric, metric, 0.01)


def report(own: float, other: float, *, rows: int = 450, task: str = "classification") -> TrainReport:
    mine, baseline = (Run("Mine", 10, (epoch(metric),), epoch(metric)) for metric in (own, other))
    scaling = Scaling(torch.zeros(1), torch.ones(1))
    return TrainReport(mine, baseline, nn.Identity(), scaling, "", "digits", task, 3 * rows, rows, 0)


@pytest.mark.parametrize(
    ("own", "other", "rows", "is_close"),
    [
        (0.984, 0.989, 450, True),
        (0.90, 0.99, 450, False),
        (0.99, 0.90, 450, False),
        (0.984, 0.989, 450_000, False),
        (0.6, 0.9, 10, True),
    ],
)
def test_a_difference_within_chance_is_too_close_to_call(
    own: float, other: float, rows: int, is_close: bool
) -> None:
    assert (f"too close to call on {rows} rows" in report(own, other, rows=rows).verdict) == is_close


def test_the_verdict_has_the_units_of_its_metric() -> None:
    assert report(0.9, 0.994).verdict == "90.0 % validation accuracy, baseline 99.4 %"
    assert report(0.5, 0.5, task="regression").verdict == "0.500 validation R2, baseline 0.500"


def test_the_metric_ranks_epochs_and_the_loss_breaks_ties() -> None:
    assert epoch(0.9, loss=2).rank > epoch(0.8, loss=1).rank
    assert epoch(0.9, loss=1).rank > epoch(0.9, loss=2).rank
