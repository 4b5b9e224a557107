"""Parameters that an `autograd.Function` is given, and gives no gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from layersmith.probe.inputs import Inputs
from layersmith.probe.tracing import refused


class Scaled(torch.autograd.Function):
    """Gives nothing for the scale."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor) -> Tensor:  # noqa: ARG004 - torch hands it over
        return x * scale

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:  # noqa: ARG004 - as above
        return grads[0], None


class Scales(nn.Module):
    """By a parameter, and perhaps as numbers only."""

    def __init__(self, *, has_graph: bool) -> None:
        super().__init__()
        self.scale, self.has_graph = nn.Parameter(torch.tensor(2.0)), has_graph

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = Scaled.apply(x, self.scale)
        return y if self.has_graph else y.detach()


def test_the_function_is_named() -> None:
    found = refused(Scales(has_graph=True), Inputs((torch.ones(3),)), ["scale"], seed=0)
    assert found["scale"].operation == "Scaled.backward(), which returns None for it"


def test_an_output_without_a_graph_says_nothing() -> None:
    assert not refused(Scales(has_graph=False), Inputs((torch.ones(3),)), ["scale"], seed=0)
