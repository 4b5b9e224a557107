"""What is only rounding, made large on its way, is no finding."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from layersmith import runner
from layersmith.probe import closeness
from layersmith.probe.inputs import Inputs
from layersmith.registry import load
from layersmith.subject import Subject

IMAGE = torch.randn(2, 16, 5, 5, generator=torch.Generator().manual_seed(0))


class AddsInMemorysOrder(nn.Module):
    """Its output is large numbers' difference, and so their rounding, which the order of a sum decides."""

    def forward(self, x: Tensor) -> Tensor:
        order = sorted(range(1, 4), key=x.stride, reverse=True)
        one = sum(x.permute(0, *order).flatten(1).unbind(1), torch.zeros(()).to(x))
        return 1 + 1e5 * (one - x.contiguous().flatten(1).sum(1))


class ReadsInMemorysOrder(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.as_strided(x.shape, (400, 25, 5, 1)).mean(1)


def test_rounding_that_became_large_is_no_matter_of_layout() -> None:
    module = AddsInMemorysOrder()
    assert closeness.gaps(module(IMAGE), module(IMAGE.to(memory_format=torch.channels_last)))
    assert not runner.ask(subject_of(AddsInMemorysOrder), load("strided-input")).findings
    assert runner.ask(subject_of(ReadsInMemorysOrder), load("strided-input")).findings


def subject_of(cls: type[nn.Module]) -> Subject:
    return Subject(cls.__name__, lambda _: cls(), lambda _: Inputs((IMAGE.clone(),)))
