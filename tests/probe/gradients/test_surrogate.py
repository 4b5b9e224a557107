"""Gradients that are meant to differ from the derivative: declared, they are asked for less."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from layersmith.probe.gradients import gradients

INPUTS = torch.linspace(-2.2, 1.9, 12).view(3, 4)


class Of(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def straight_through(x: Tensor) -> Tensor:
    return x + (x.round() - x).detach()


def reversal(x: Tensor) -> Tensor:
    return 2 * x.detach() - x


@pytest.mark.parametrize("function", [straight_through, reversal])
def test_declared_it_passes_and_undeclared_it_does_not(function: Callable[[Tensor], Tensor]) -> None:
    assert not gradients(Of(function), INPUTS).ok
    report = gradients(Of(function), INPUTS, surrogate="meant so")
    assert report.ok
    assert report.judged
    assert {leg.name for leg in report.legs} == {"finite", "deterministic"}
    assert "meant so" in report.notes[0]


def test_a_surrogate_gradient_must_still_be_finite() -> None:
    report = gradients(Of(lambda x: x + (x - x).sqrt()), INPUTS, surrogate="meant so")
    assert [found.kind for found in report.errors] == ["not finite"]


def test_a_surrogate_gradient_must_still_repeat_itself() -> None:
    calls = iter(range(1, 100))
    report = gradients(Of(lambda x: x * next(calls)), INPUTS, surrogate="meant so")
    assert [found.kind for found in report.errors] == ["differs between two calls"]
