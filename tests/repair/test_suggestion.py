"""The repair as source: a diff that applies, and whose lines keep the signal."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from layersmith.load.build import subject_of_class
from layersmith.probe.inputs import Inputs
from layersmith.probe.layers import layers
from layersmith.repair.suggestion import apply, statements, suggest

Write = Callable[..., Path]

PLAIN = """
class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.weights = nn.Parameter(torch.randn(30, 40))
        self.shift = nn.Parameter(torch.randn(40))
        self.out = nn.Linear(40, 2)

    def forward(self, x):
        return self.out(0.5 * torch.clamp(x @ self.weights + self.shift, min=0))
"""
RESETS = """
class Resets(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.ones_(self.conv.weight)

    def forward(self, x):
        return torch.tanh(self.conv(x))
"""
STACK = """
class Stack(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(16, 16) for _ in range(5))

    def forward(self, x):
        for layer in self.layers:
            x = torch.relu(layer(x))
        return x
"""


def loaded(path: Path, name: str) -> type[torch.nn.Module]:
    names: dict[str, Any] = {"__name__": path.stem}
    exec(compile(path.read_text(), str(path), "exec"), names)
    found: type[torch.nn.Module] = names[name]
    return found


@pytest.mark.parametrize(
    ("text", "name", "shape", "factor", "axis"),
    [
        (PLAIN, "Plain", (5, 30), 2.828, "self.weights.shape[0]"),
        (RESETS, "Resets", (5, 3, 6, 6), 1.593, "self.conv.weight[0].numel()"),
    ],
)
def test_the_diff_applies_and_the_class_then_starts_with_the_gain(
    write: Write, text: str, name: str, shape: tuple[int, ...], factor: float, axis: str
) -> None:
    path = write(text)
    case = subject_of_class(loaded(path, name), inputs=torch.randn(*shape)).case()
    first = layers(case.module, case.inputs)[0]
    diff = suggest(case.module, case.inputs, [first.weight])
    assert f"std={factor} / {axis} ** 0.5" in diff
    subprocess.run(
        ["patch", "-p0", str(path)], input=diff, text=True, check=True, cwd=path.parent, capture_output=True
    )
    torch.manual_seed(0)
    repaired = loaded(path, name)()
    weight = repaired.get_parameter(first.weight).detach()
    assert float(weight.std()) == pytest.approx(factor / first.fan_in**0.5, rel=0.15)
    assert not repaired.get_parameter(first.bias).detach().count_nonzero()


def test_layers_of_a_list_share_a_loop(write: Write) -> None:
    case = subject_of_class(loaded(write(STACK), "Stack"), inputs=torch.randn(5, 16)).case()
    every = [layer.weight for layer in layers(case.module, case.inputs)]
    lines = statements(case.module, case.inputs, every)
    assert lines[1] == "for index in range(5):"
    assert len(lines) == 4
    apply(case.module, lines)
    stds = [float(case.module.get_parameter(name).detach().std()) for name in every]
    assert stds == pytest.approx([(2 / 16) ** 0.5] * 5, rel=0.2)
    some = statements(case.module, case.inputs, [every[1]])
    assert "self.layers[1].weight.shape[1] ** 0.5" in some[1]


def test_nothing_is_suggested_for_nothing() -> None:
    model = torch.nn.Linear(3, 3)
    assert suggest(model, Inputs.of(torch.randn(2, 3)), []) == ""
