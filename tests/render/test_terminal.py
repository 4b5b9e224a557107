"""What a terminal shows of several classes."""

from __future__ import annotations

import pytest

from layersmith.finding import Finding, Outcome, Result, Severity
from layersmith.render.terminal import text
from layersmith.report import Report, SubjectReport


def report_on(*findings: Finding) -> Report:
    """One class for each finding of one rule, the last above the first as it has the graver one."""
    kinds = (Severity.WARNING, Severity.ERROR)
    return Report(
        tuple(
            SubjectReport(f"Class{i}", results=(Result("keeps-graph", "g", Outcome.FAIL, kinds[i], (one,)),))
            for i, one in enumerate(findings)
        )
    )


def test_what_was_told_of_a_line_is_not_told_again_of_the_classes_that_hold_it() -> None:
    said = text(
        report_on(
            Finding("cache keeps it", "cache", "model.py", 12, fix="detach it"),
            Finding("a.cache keeps it", "a.cache", "model.py", 12, fix="detach it"),
        )
    )
    assert said.count("detach it") == 1
    assert "a.cache keeps it" in said
    assert "as told of Class1, here at cache" in said


@pytest.mark.parametrize(("file", "line"), [("other.py", 12), ("model.py", 13), ("model.py", 0)])
def test_another_line_is_told(file: str, line: int) -> None:
    first = line or 0
    said = text(report_on(Finding("one", "", "model.py", first and 12), Finding("other", "", file, line)))
    assert "as told" not in said
