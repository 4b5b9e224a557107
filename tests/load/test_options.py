"""Scripts that require options where nobody gives them, and settings files that do work of their own."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from layersmith.load import options
from tests.conftest import Ended

SCRIPT = """
import argparse

parser = argparse.ArgumentParser()
parser.add_argument("data", metavar="DIR")
parser.add_argument("--dataset", required=True, choices=["mnist", "cifar10"])
parser.add_argument("--width", type=int, default=24)
opt = parser.parse_args()
assert opt.dataset == "mnist"


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(opt.width, 2)

    def forward(self, x):
        return self.layer(x)
"""

CONFIG = """
import argparse
import os

parser = argparse.ArgumentParser()
parser.add_argument("--width", type=int, default=24)
parser.set_defaults(depth=2)
args = parser.parse_args()
os.makedirs("results")
open("results/models.txt", "a").write("begun")
"""

NET = """
from config import args


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(*(nn.Linear(args.width, args.width) for _ in range(args.depth)))

    def forward(self, x):
        return self.layers(x)
"""


def test_a_script_that_requires_options_is_imported(
    layersmith: Callable[..., Ended], write: Callable[..., Path]
) -> None:
    write(SCRIPT)
    ended = layersmith("check", "layers.py", "--select", "forward-raises")
    assert "Net()(f32[5,24])" in ended.out, ended.out
    assert "1 checked" in ended.out


def test_the_options_of_a_settings_file_are_known_though_it_may_not_write(
    layersmith: Callable[..., Ended], write: Callable[..., Path]
) -> None:
    write(CONFIG, "config.py", header="")
    write(NET)
    ended = layersmith("check", "layers.py", "--select", "forward-raises")
    assert "Net()(f32[5,24])" in ended.out, ended.out


@pytest.fixture
def parser(monkeypatch: pytest.MonkeyPatch) -> argparse.ArgumentParser:
    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", argparse.ArgumentParser.parse_known_args)
    options.watch()
    made = argparse.ArgumentParser()
    made.add_argument("--sizes", required=True, nargs=2, type=int)
    made.add_argument("--rate", required=True, type=float)
    made.add_argument("--files", required=True, nargs="+")
    made.add_argument("--seed", required=True, type=int, default=7)
    group = made.add_mutually_exclusive_group(required=True)
    group.add_argument("--fast", action="store_true")
    return made


def test_what_is_required_has_a_value_of_its_kind(parser: argparse.ArgumentParser) -> None:
    found = parser.parse_args([])
    assert vars(found) == {"sizes": [1, 1], "rate": 0.1, "files": ["files"], "seed": 7, "fast": False}


def test_what_is_given_is_taken(parser: argparse.ArgumentParser) -> None:
    found = parser.parse_args(["--rate", "0.5", "--sizes", "2", "3", "--fast"])
    assert (found.rate, found.sizes, found.fast) == (0.5, [2, 3], True)
    with pytest.raises(SystemExit):
        parser.parse_args(["--unknown"])


BRANCHES = """
import argparse

parser = argparse.ArgumentParser()
parser.add_argument("--dataset", required=True, help="mnist | cifar10")
opt = parser.parse_args()
if opt.dataset == "mnist":
    nc = 1
elif opt.dataset == "cifar10":
    nc = 3


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(nc, 8, 3)

    def forward(self, x):
        return self.layer(x)
"""


def test_what_an_option_of_ours_left_unset_is_not_blamed_on_the_code(
    layersmith: Callable[..., Ended], write: Callable[..., Path]
) -> None:
    write(BRANCHES)
    ended = layersmith("check", "layers.py", "--select", "forward-raises")
    assert ended.code == 0, ended.out
    assert "name 'nc' is" in ended.out  # in the reason for which it is skipped
