"""The line that an operation is told at: the user's own, also where what is installed does it for them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from layersmith.probe.inputs import Inputs
from layersmith.probe.steps import watched

HELPER = """
import torch
from torch import nn


def doubled(x):
    return torch.mul(x, 2)


class Doubles(nn.Module):
    def forward(self, x):
        return doubled(x)
"""


@pytest.fixture
def installed(tmp_path: Path) -> Callable[[str], object]:
    """What an installed package holds."""
    file = tmp_path / "site-packages" / "helping.py"
    file.parent.mkdir()
    file.write_text(HELPER)
    spec = importlib.util.spec_from_file_location("helping", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda name: getattr(module, name)


class Asks(nn.Module):
    def __init__(self, function: FunctionType) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.function(x))


def test_an_installed_function_is_told_at_the_line_that_asks_it(installed: Callable[[str], object]) -> None:
    steps = watched(Asks(cast(FunctionType, installed("doubled"))), Inputs((torch.ones(3),)), lambda _: ())
    assert Path(steps[-1].file).name == "test_caller.py"


def test_an_installed_layer_is_told_at_its_own_line(installed: Callable[[str], object]) -> None:
    layer = cast(type[nn.Module], installed("Doubles"))()
    steps = watched(layer, Inputs((torch.ones(3),)), lambda _: ())
    assert (Path(steps[-1].file).name, steps[-1].line) == ("helping.py", 7)
