"""Findings of one cause are told once, under the rule nearest to the cause; different causes stay apart."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import layersmith
from layersmith.causes import grouped
from layersmith.finding import Finding, Outcome, Result, Severity


def failed(rule: str, group: str, *findings: Finding, severity: Severity = Severity.ERROR) -> Result:
    return Result(rule, group, Outcome.FAIL, severity, findings)


@pytest.fixture
def source(tmp_path: Path) -> str:
    path = tmp_path / "layers.py"
    path.write_text(
        "class A:\n    def forward(self, x):\n        return x.mean(0)\n        return x.sum(0)\n"
    )
    return str(path)


def test_two_rules_that_blame_one_line_give_one_finding(source: str) -> None:
    state = failed("state-dict-loss", "state", Finding("output differs", file=source, line=3))
    registration = failed("unregistered-buffer", "registration", Finding("table", file=source, line=3))
    first, second = grouped([state, registration])
    assert (first.outcome, first.findings) == (Outcome.SKIP, ())
    assert first.why == "same cause as unregistered-buffer"
    assert second.outcome is Outcome.FAIL
    assert second.findings[0].also_seen_as == ("state-dict-loss: output differs",)


def test_the_graver_finding_is_told_even_where_the_other_is_nearer(source: str) -> None:
    note = failed("a", "registration", Finding("note", file=source, line=3), severity=Severity.NOTE)
    error = failed("b", "compile", Finding("error", file=source, line=3))
    told = {result.rule: result.outcome for result in grouped([note, error])}
    assert told == {"a": Outcome.SKIP, "b": Outcome.FAIL}


def test_different_lines_are_different_causes(source: str) -> None:
    results = (
        failed("a", "forward", Finding("x", "weight", source, 3)),
        failed("b", "state", Finding("y", "weight", source, 4)),
    )
    assert grouped(results) == results


@pytest.mark.parametrize("line", [1, 2])
def test_the_line_of_a_definition_is_no_shared_cause(source: str, line: int) -> None:
    results = (
        failed("a", "forward", Finding("x", file=source, line=line)),
        failed("b", "state", Finding("y", file=source, line=line)),
    )
    assert grouped(results) == results


def test_one_parameter_is_one_cause_but_an_output_is_not() -> None:
    first, second = grouped(
        [failed("a", "forward", Finding("x", "weight")), failed("b", "state", Finding("y", "weight"))]
    )
    assert (first.outcome, second.outcome) == (Outcome.FAIL, Outcome.SKIP)
    outputs = (failed("a", "forward", Finding("x", "output")), failed("b", "state", Finding("y", "output")))
    assert grouped(outputs) == outputs


def test_findings_of_one_rule_stay_apart(source: str) -> None:
    result = failed("a", "forward", Finding("x", "p", source, 3), Finding("y", "q", source, 3))
    assert grouped([result]) == (result,)


def test_grouping_again_changes_nothing_and_loses_nothing(source: str) -> None:
    once = grouped(
        [
            failed("a", "forward", Finding("x", "weight", source, 3)),
            failed("b", "state", Finding("y", "weight", source, 3)),
            failed("c", "code", Finding("z", "bias", source, 4)),
        ]
    )
    assert grouped(once) == once


class Forgetful(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = torch.randn(6)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.table


def test_a_report_tells_a_cause_once_and_what_else_was_seen_of_it() -> None:
    report = layersmith.check(Forgetful, torch.randn(4, 6), ignore=["compile"])
    tables = [finding for _, _, finding in report.findings() if finding.where == "table"]
    assert len(tables) == 1
    assert "also seen as" in str(report) or not tables[0].also_seen_as


class MakesItsHeadAtFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 6)
        self.head: nn.Module | None = None

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.body(x).relu()
        if self.head is None:
            self.head = nn.Sequential(nn.Linear(hidden.shape[-1], 8), nn.ReLU(), nn.Linear(8, 3))
        return self.head(hidden)


def test_parameters_made_by_the_first_call_are_told_once() -> None:
    report = layersmith.check(MakesItsHeadAtFirst, torch.randn(4, 6), ignore=["compile"])
    assert {result.rule for _, result, _ in report.findings()} == {"parameter-made-in-forward"}
