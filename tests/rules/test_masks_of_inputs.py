"""An input of which only a mask is made."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import layersmith
from layersmith import runner
from layersmith.finding import Severity
from layersmith.probe.inputs import Inputs
from layersmith.registry import load
from layersmith.subject import Subject


class HidesPadding(nn.Module):
    """Where the second is zero nothing is looked at; what else it is does not matter."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def hidden(self, tokens: Tensor) -> Tensor:
        return tokens.eq(0).unsqueeze(1)

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        scores = self.linear(x) @ x.mT
        return scores.masked_fill(self.hidden(tokens), -1e4).softmax(-1) @ x


class HidesNothing(HidesPadding):
    def hidden(self, tokens: Tensor) -> Tensor:
        return torch.zeros_like(tokens, dtype=torch.bool).unsqueeze(1)


@pytest.mark.parametrize("tokens", [torch.rand(3, 5) + 1, torch.arange(15).reshape(3, 5) + 1])
@pytest.mark.parametrize("cls", [HidesPadding, HidesNothing])
def test_where_it_is_zero_counts(tokens: Tensor, cls: type[HidesPadding]) -> None:
    x = torch.randn(3, 5, 6, generator=torch.Generator().manual_seed(0))
    subject = Subject("hides", lambda _: cls(), lambda _: Inputs((x.clone(), tokens.clone())))
    assert bool(runner.ask(subject, load("ignored-input")).findings) == (cls is HidesNothing)


class MasksForOneTask(nn.Module):
    """The other task takes none, and both are called alike."""

    def __init__(self, task: str = "forecast") -> None:
        super().__init__()
        self.task = task

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if self.task == "impute":
            x = x.masked_fill(mask[..., None], 0.0)  # type: ignore[index]
        return x + x.mean(1, keepdim=True)


def test_a_mask_of_another_task_is_a_note() -> None:
    report = layersmith.check(MasksForOneTask(), torch.randn(3, 7, 6), select=["mask-ignored"])
    assert [result.severity_of(finding) for _, result, finding in report.findings()] == [Severity.NOTE]
