"""A device that the constructor is told, or the script chooses, is theirs to see to; one that is written down is not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from layersmith import runner
from layersmith.finding import Severity
from layersmith.load.build import subject_of_class
from layersmith.registry import load


class Told(nn.Module):
    def __init__(self, size: int = 10, device: str = "cpu") -> None:
        super().__init__()
        self.size, self.device = size, device

    def forward(self, ids: Tensor) -> Tensor:
        return torch.zeros((len(ids), self.size), device=self.device).scatter_(1, ids, 1.0)


class Written(nn.Module):
    def __init__(self, size: int = 10) -> None:
        super().__init__()
        self.size, self.device = size, "cpu"

    def forward(self, ids: Tensor) -> Tensor:
        return torch.zeros((len(ids), self.size), device=self.device).scatter_(1, ids, 1.0)


class Forgetful(nn.Module):
    def __init__(self, size: int = 10, device: str = "cpu") -> None:
        super().__init__()
        self.size, self.device = size, device

    def forward(self, ids: Tensor) -> Tensor:
        return torch.zeros(len(ids), self.size).scatter_(1, ids, 1.0)


device = "cpu"  # as scripts choose it: "cuda" if that is to be had


class TakesTheScripts(nn.Module):
    def forward(self, ids: Tensor) -> Tensor:
        return torch.zeros(len(ids), 10, device=device).scatter_(1, ids, 1.0)


class FollowsACard(nn.Module):
    def forward(self, ids: Tensor) -> Tensor:
        found = torch.zeros(len(ids), 10)
        if ids.is_cuda:
            found = found.cuda()
        return found.scatter_(1, ids, 1.0)


class HandsACardOn(nn.Module):
    def forward(self, ids: Tensor) -> Tensor:
        return self.empty(len(ids), cuda=ids.is_cuda).scatter_(1, ids, 1.0)

    def empty(self, count: int, *, cuda: bool) -> Tensor:
        found = torch.zeros(count, 10)
        if cuda:
            found = found.cuda()
        return found


@pytest.mark.parametrize(
    ("cls", "severity"),
    [
        (Told, Severity.NOTE),
        (Written, Severity.ERROR),
        (Forgetful, Severity.ERROR),
        (TakesTheScripts, Severity.NOTE),
        (FollowsACard, Severity.NOTE),
        (HandsACardOn, Severity.NOTE),
    ],
)
def test_a_told_device_is_but_a_note(cls: type[nn.Module], severity: Severity) -> None:
    subject = subject_of_class(cls, inputs="i64[5,7]<10")
    result = runner.ask(subject, load("hard-coded-device"))
    assert [result.severity_of(finding) for finding in result.findings] == [severity]
