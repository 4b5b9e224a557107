"""`init`, `profile`, `explain` and the command itself, as a user runs them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from layersmith.registry import rule_files
from tests.conftest import Ended

Layersmith = Callable[..., Ended]
MODEL = f"{Path(__file__).parents[2] / 'examples' / 'tutorial.py'}::CustomModel"


def test_init_shows_the_signal_by_submodule_and_the_gain(layersmith: Layersmith) -> None:
    ended = layersmith("init", MODEL)
    assert ended.code == 0  # a warning: its main() calls it with ten features
    assert "exploding-signal" in ended.out
    rows = {
        line.split()[0]: line.split()
        for line in ended.out.splitlines()
        if line.startswith("  ") and line.split()
    }
    assert {"input[0]", "layer1", "activation", "layer2", "(whole)"} <= set(rows)
    assert "2.83" in rows["activation"]
    assert max(map(len, ended.out.splitlines())) <= 80


def test_profile_shows_time_flops_parameters_and_memory(layersmith: Layersmith) -> None:
    ended = layersmith("profile", MODEL)
    assert ended.code == 0, ended.out
    header = next(line for line in ended.out.splitlines() if "forward" in line)
    assert header.split()[:6] == ["submodule", "forward", "backward", "FLOP", "params", "saved"]
    assert re.search(r"\d [mµ]s ±\d+%", ended.out)
    assert max(map(len, ended.out.splitlines())) <= 80


def test_measurements_are_in_the_json(layersmith: Layersmith) -> None:
    subject = layersmith("init", MODEL, "--format", "json").subject("CustomModel")
    names = {(m["where"], m["name"]) for m in subject["measurements"]}
    assert {("layer1", "std"), ("layer1", "gradient_std"), ("activation", "share_of_zeros")} <= names
    assert all({"name", "value", "unit", "spread", "where"} == set(m) for m in subject["measurements"])


@pytest.mark.parametrize("rule", sorted(rule_files()))
def test_every_rule_has_a_page(layersmith: Layersmith, rule: str) -> None:
    ended = layersmith("explain", rule)
    assert ended.code == 0
    for part in (
        f"# {rule}",
        "## Why it matters",
        "## How it is tested",
        "## How to fix it",
        "## Reported",
        "## Accepted",
    ):
        assert part in ended.out


def test_explain_without_a_name_lists_all_rules(layersmith: Layersmith) -> None:
    out = layersmith("explain").out
    assert all(rule in out for rule in rule_files())


def test_an_unknown_rule_is_exit_code_2(layersmith: Layersmith) -> None:
    ended = layersmith("explain", "batchleak")
    assert (ended.code, ended.out) == (2, "")
    assert "did you mean 'batch-leak'" in ended.err


@pytest.mark.parametrize(
    "arguments", [[], ["nonsense"], ["check"], ["check", "x.py", "--format", "nonsense"]]
)
def test_a_command_that_cannot_be_read_is_exit_code_2(layersmith: Layersmith, arguments: list[str]) -> None:
    ended = layersmith(*arguments)
    assert ended.code == 2
    assert "usage:" in ended.err


def test_the_version_is_told(layersmith: Layersmith) -> None:
    assert re.fullmatch(r"layersmith \d+\.\d+\.\d+\n", layersmith("--version").out)


def test_the_package_itself_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "layersmith", "rules", "nothing-like-it"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "nothing-like-it" in done.stderr
