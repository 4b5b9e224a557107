"""A machine with a graphics card: nothing starts it unasked, and what lies on it is examined there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import layersmith
from layersmith.probe.surroundings import preserved
from tests.conftest import Ended

HAS_CARD = torch.cuda.is_available()
with_a_card = pytest.mark.skipif(not HAS_CARD, reason="there is no card")

SOURCE = """
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class GoesThere(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.linear = nn.Linear(dim, dim).to(device)

    def forward(self, x):
        return self.linear(x.to(device)).relu()


class TellsWhere(nn.Module):
    def forward(self, x):
        return x + float(torch.cuda.is_available())
"""


class Starting:
    """Stands for a card whose state nobody may ask for before it is in use."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seeds: list[int] = []
        self.is_in_use = False
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: self.is_in_use)
        monkeypatch.setattr(torch.cuda, "get_rng_state", self.state)
        monkeypatch.setattr(torch.cuda, "manual_seed_all", self.seeds.append)

    def state(self, _device: object) -> Tensor:
        raise AssertionError("this starts the card")


def test_keeping_the_generators_starts_no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Starting(monkeypatch)
    with preserved():
        torch.rand(1)
    assert not card.seeds


def test_a_card_that_was_started_inside_goes_on_from_the_callers_seed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    card = Starting(monkeypatch)
    torch.manual_seed(7)
    card.seeds.clear()
    with pytest.raises(ValueError, match="inside"), preserved():  # noqa: PT012 - the card starts before
        torch.manual_seed(3)
        card.is_in_use = True
        raise ValueError("inside")
    assert card.seeds[-1] == 7


def test_code_sees_no_card_and_the_option_is_known(
    layersmith: Callable[..., Ended], write: Callable[..., Path]
) -> None:
    write(SOURCE)
    for options in ((), ("--hide-cuda",), ("--no-hide-cuda",)):
        ended = layersmith("check", "layers.py", "--select", "forward-raises", *options)
        assert ended.code == 0
        assert "2 checked" in ended.out


@with_a_card
@pytest.mark.parametrize("inputs", [None, "f32[3, 8]", torch.randn(3, 8)])
def test_a_module_on_a_card_is_examined_there(inputs: object) -> None:
    module = nn.Sequential(nn.Linear(8, 8), nn.Tanh()).cuda()
    given = inputs.cuda() if isinstance(inputs, Tensor) else inputs
    state = torch.cuda.get_rng_state()
    assert layersmith.check(module, given, ignore=["compile"]).ok
    assert torch.equal(torch.cuda.get_rng_state(), state)
    assert all(parameter.is_cuda for parameter in module.parameters())


@with_a_card
def test_a_module_elsewhere_starts_none() -> None:
    program = (
        "import torch, layersmith; layersmith.check(torch.nn.Linear(4, 3), ignore=['compile']); "
        "assert not torch.cuda.is_initialized()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
