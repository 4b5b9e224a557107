"""The scripts on the rules' pages: they raise on a bad example, not on a good one, and need no Layersmith."""

from __future__ import annotations

import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from layersmith import reproduction, runner
from layersmith.load.build import subject_of_class
from layersmith.registry import all_rules, load
from layersmith.rule import Rule
from layersmith.subject import Subject
from tests.conftest import Ended

RULES = all_rules()
SHORT = 15  # lines


def raises(subject: Subject, rule: Rule, *, where: str = "") -> bool:
    text = reproduction.script(subject, rule, where=where)
    assert len(text.splitlines()) <= SHORT
    try:
        exec(compile(text, rule.id, "exec"), {"__name__": "script"})
    except (AssertionError, AttributeError):
        return True
    except Exception as error:
        if traceback.extract_tb(error.__traceback__)[-1].filename == rule.id:
            raise
        return True
    return False


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_script_raises_on_a_bad_example_and_not_on_a_good_one(rule: Rule) -> None:
    bad = next(example.subject for example in rule.examples if example.expect)
    result = runner.ask(bad, rule)
    assert raises(bad, rule, where=result.findings[0].where)
    assert not all(raises(example.subject, rule) for example in rule.examples if not example.expect)


def test_a_failing_result_carries_its_script_and_a_passing_one_does_not() -> None:
    rule = load("batch-leak")
    bad, good = rule.examples[0].subject, next(e.subject for e in rule.examples if not e.expect)
    assert "row {keep} moved" in runner.ask(bad, rule).script
    assert runner.ask(good, rule).script == ""


LEAKS = """
from torch import nn

class Leaks(nn.Module):
    def __init__(self, dim, *, heads=2):
        super().__init__()
        self.linear = nn.Linear(dim, heads)

    def forward(self, x):
        return {"logits": self.linear(x - x.mean(0))}
"""


def test_a_script_runs_by_itself_and_knows_nothing_of_layersmith(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "leaky_layers.py").write_text(LEAKS)
    monkeypatch.syspath_prepend(tmp_path)
    import leaky_layers  # type: ignore[import-not-found]

    text = reproduction.script(subject_of_class(leaky_layers.Leaks), load("batch-leak"))
    assert "layersmith" not in text.replace(str(tmp_path), "")
    assert "run = lambda *a: module(*(a or args), **kwargs)['logits']" in text
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "row 0 moved by" in done.stderr


def test_the_command_line_prints_a_script_for_each_failure(
    layersmith: Callable[..., Ended], write: Callable[..., Path]
) -> None:
    path = write(LEAKS)
    ended = layersmith("check", str(path), "--reproduce", "batch-leak")
    assert ended.code == 1
    assert ended.out.startswith(f"# Leaks ({path}:")
    done = subprocess.run([sys.executable, "-"], input=ended.out, capture_output=True, text=True, check=False)
    assert "row 0 moved by" in done.stderr
    passing = layersmith("check", str(path), "--reproduce", "input-modified")
    assert (passing.code, passing.out) == (0, "# nothing failed: nothing to reproduce\n")
