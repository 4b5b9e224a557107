"""Modules in a plain list whose parameters torch knows of through another one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from layersmith import runner
from layersmith.probe.inputs import Inputs
from layersmith.registry import load
from layersmith.subject import Subject


class ListsTheirParameters(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Linear(6, 6), nn.Linear(6, 6)]
        self.weights = nn.ParameterList(p for layer in self.layers for p in layer.parameters())

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class ListsTheFirst(ListsTheirParameters):
    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.ParameterList(self.layers[0].parameters())


def test_only_what_parameters_does_not_list_is_unregistered() -> None:
    assert not findings(ListsTheirParameters)
    assert findings(ListsTheFirst) == [
        "layers is a plain list holding Linear: 42 trainable numbers that parameters() does not list"
    ]


def findings(cls: type[nn.Module]) -> list[str]:
    subject = Subject(cls.__name__, lambda _: cls(), lambda _: Inputs((torch.randn(4, 6),)))
    return [finding.message for finding in runner.ask(subject, load("unregistered-module")).findings]
