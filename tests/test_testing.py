"""Rules as pytest tests: ids, expected failures, skips, and the plugin, each seen through a real pytest run."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from layersmith.errors import CheckError, UsageError
from layersmith.testing import check_module, parametrize_with_checks

LAYERS = """
import torch
from torch import nn

class Leaks(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 6)
    def forward(self, x):
        return self.linear(x - x.mean(0))

class Sound(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 6)
    def forward(self, x):
        return self.linear(x)
"""
TESTS = """
import torch
from layersmith.testing import parametrize_with_checks
from layers import Leaks, Sound
RULES = ["forward-raises", "batch-leak", "input-modified"]

@parametrize_with_checks([(Leaks, torch.randn(4, 6)), Sound()], select=RULES{options})
def test_layers(module, check):
    check(module)
"""


def ran(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", *PLUGIN, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def installed() -> bool:
    from importlib.metadata import entry_points

    return any(one.name == "layersmith" for one in entry_points(group="pytest11"))


PLUGIN = () if installed() else ("-p", "layersmith.pytest_plugin")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "layers.py").write_text(LAYERS)
    return tmp_path


def test_each_module_and_rule_is_a_test_with_an_id_that_can_be_selected(folder: Path) -> None:
    (folder / "test_layers.py").write_text(TESTS.format(options=""))
    out = ran(folder)
    assert "FAILED test_layers.py::test_layers[Leaks-batch-leak]" in out
    assert "PASSED test_layers.py::test_layers[Sound-batch-leak]" in out
    assert "1 failed, 5 passed" in out
    assert "2 passed" in ran(folder, "-k", "Leaks and not batch-leak")


def test_an_expected_failure_is_xfailed_with_its_reason(folder: Path) -> None:
    options = ', expected_failures={"batch-leak": "compares rows"}'
    (folder / "test_layers.py").write_text(TESTS.format(options=options))
    out = ran(folder)
    assert "compares rows" in out
    assert "1 xfailed, 1 xpassed" in out
    (folder / "test_layers.py").write_text(TESTS.format(options=options + ", xfail_strict=True"))
    assert "XPASS(strict)" in ran(folder)


def test_the_plugin_tests_a_file_without_a_test_file_also_in_several_workers(folder: Path) -> None:
    options = ("--layersmith=layers.py", "--layersmith-select=forward-raises,batch-leak")
    for out in (ran(folder, *options), ran(folder, *options, "-n", "2")):
        assert "1 failed, 3 passed" in out
        assert "batch-leak: " in out
        assert "fix: " in out


def test_the_plugin_refuses_an_unknown_rule_as_a_wrong_request(folder: Path) -> None:
    assert "did you mean 'batch-leak'" in ran(
        folder, "--layersmith=layers.py", "--layersmith-select=bach-leak"
    )


def test_the_plugin_costs_nothing_when_it_is_not_used() -> None:
    code = "import sys, layersmith.pytest_plugin; assert not {'torch', 'rich', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


class Leaks(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0)


def test_check_module_raises_warns_or_does_neither() -> None:
    x = torch.randn(4, 6)
    with pytest.raises(CheckError, match="batch-leak"):
        check_module(Leaks(), x, select=["batch-leak"])
    with pytest.warns(UserWarning, match="batch-leak"):
        check_module(Leaks(), x, select=["batch-leak"], on_fail="warn")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = check_module(Leaks(), x, select=["batch-leak"], on_fail=None)
    assert [result.rule for result in report.subjects[0].results if result.findings] == ["batch-leak"]


def test_an_expected_failure_of_check_module_is_no_failure() -> None:
    reasons = {"batch-leak": "compares rows"}
    assert check_module(Leaks(), torch.randn(4, 6), select=["batch-leak"], expected_failures=reasons).ok


@pytest.mark.parametrize("reasons", [{"bach-leak": "why"}, {"batch-leak": " "}])
def test_an_unknown_rule_or_a_missing_reason_is_refused(reasons: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        parametrize_with_checks([Leaks()], expected_failures=reasons)
