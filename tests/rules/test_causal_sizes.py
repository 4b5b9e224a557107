"""A convolution that is causal by its name is so for every kernel and dilation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from layersmith import runner
from layersmith.load.build import subject_of_class
from layersmith.registry import load
from layersmith.subject import Subject


class CausalConv(nn.Conv1d):
    """Padded by what the kernel needs, and cut to the length."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3, dilation: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel_size, dilation=dilation)
        self.left = (kernel_size - 1) * dilation

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(nn.functional.pad(x, (self.left, 0)))


class CausalConvOfOneDilation(CausalConv):
    """Padded on both sides above a dilation of one."""

    def forward(self, x: Tensor) -> Tensor:
        after = self.dilation[0] - 1
        return nn.Conv1d.forward(self, nn.functional.pad(x, (self.left - after, after)))


def said(cls: type[nn.Module]) -> list[str]:
    subject = subject_of_class(cls)
    assert isinstance(subject, Subject)
    torch.manual_seed(0)
    return [finding.message for finding in runner.ask(subject, load("future-leak")).findings]


def test_another_dilation_is_asked() -> None:
    assert not said(CausalConv)
    (message,) = said(CausalConvOfOneDilation)
    assert message.endswith("its name says so, with dilation=2")
