"""The end of a report: reasons, the one hint that unlocks most, findings by rule."""

from __future__ import annotations

import io
import json

from layersmith.finding import Finding, Outcome, Result, Severity, Status
from layersmith.render import overview
from layersmith.render.json import write
from layersmith.report import Report, SubjectReport


def failed(rule: str, severity: Severity, number: int = 1) -> Result:
    return Result(rule, "group", Outcome.FAIL, severity, tuple(Finding(str(i)) for i in range(number)))


def left_out(name: str, why: str, hint: str = "") -> SubjectReport:
    return SubjectReport(name, status=Status.SKIPPED, why=why, hint=hint)


def test_one_class_needs_no_overview() -> None:
    assert not [*overview.lines(Report((SubjectReport("A"),)))]


def test_findings_are_counted_by_rule_gravest_first() -> None:
    report = Report(
        (
            SubjectReport("A", results=(failed("b-note", Severity.NOTE), failed("a-rule", Severity.WARNING))),
            SubjectReport("B", results=(failed("c", Severity.ERROR, 2), failed("b-note", Severity.NOTE))),
        )
    )
    assert [*overview.lines(report)] == [
        "findings by rule:",
        "  c       2 errors in 1 class",
        "  a-rule  1 warning in 1 class",
        "  b-note  2 notes in 2 classes",
    ]


def test_reasons_are_counted_and_the_best_hint_is_given() -> None:
    needs = "needs mamba_ssm, which is not installed (imported at a.py:3)"
    report = Report(
        (
            left_out("A", "no way to build A was found; A(1) raised X", "add"),
            left_out("a.py", needs),
            left_out("b.py", needs),
            SubjectReport("C", status=Status.TIMEOUT, why="took more than 60 s"),
        )
    )
    assert [*overview.lines(report)] == [
        "not checked:",
        "  2  needs mamba_ssm, which is not installed: a.py, b.py",
        "  1  no way to build it was found: A",
        "  1  ran out of time: C",
        "most would be unlocked by: pip install mamba_ssm",
    ]


def test_files_whose_imports_fail_at_one_line_are_unlocked_by_mending_it() -> None:
    why = "import of {} raised ImportError at data/utils.py:39: cannot import name 'token' from 'vision'"
    report = Report(
        (
            SubjectReport("a.py", status=Status.CRASHED, why=why.format("a.py")),
            SubjectReport("b.py", status=Status.CRASHED, why=why.format("b.py")),
            left_out("c.py", "needs higher, which is not installed (imported at c.py:3)"),
        )
    )
    assert [*overview.lines(report)] == [
        "not checked:",
        "  2  an import fails at data/utils.py:39 (ImportError): a.py, b.py",
        "  1  needs higher, which is not installed: c.py",
        "most would be unlocked by: mending data/utils.py:39 (ImportError)",
    ]


def test_of_classes_without_a_way_the_one_that_others_need_is_named() -> None:
    why = "no way to build {} was found; {} raised X"
    report = Report(
        (
            left_out("Net", why.format("Net", "Net(Config())"), "add"),
            left_out("Config", why.format("Config", "Config()"), "add"),
            left_out("Head", why.format("Head", "Head(Config())"), "add"),
        )
    )
    assert [*overview.lines(report)][-1] == (
        "most would be unlocked by: an example in Config (see its hint above)"
    )


def test_the_json_report_holds_the_overview() -> None:
    report = Report(
        (
            SubjectReport("A", results=(failed("a-rule", Severity.WARNING, 2),)),
            left_out("B", "no way to call B was found; B()(1) raised X", "add"),
        )
    )
    file = io.StringIO()
    write(report, file)
    found = json.loads(file.getvalue())
    assert found["overview"]["findings"] == {"a-rule": {"warning": 2}}
    (group,) = found["overview"]["not_checked"]
    assert group["classes"] == ["B"]
    assert group["hint"] == "an example in B (see its hint above)"
