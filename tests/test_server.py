"""The processes behind the command line: order, parallel jobs, starting anew where fork is not to be had."""

from __future__ import annotations

import dataclasses
import io
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from layersmith import api
from layersmith.config import Config
from layersmith.finding import Outcome, Result, Severity, Status
from layersmith.isolation import Ended
from layersmith.report import Report, SubjectReport, merged
from layersmith.server.messages import Request
from layersmith.server.subject import Examination

Write = Callable[..., Path]
CLASSES = """
import os

class First(nn.Module):
    def forward(self, x):
        return x * 2

class Dies(nn.Module):
    def forward(self, x):
        os._exit(9)

class Last(nn.Module):
    def forward(self, x):
        return x * 3
"""


def test_without_fork_each_class_has_a_python_of_its_own(write: Write) -> None:
    report = api.examine(
        "check", [str(write(CLASSES))], rules=("forward-raises",), settings=Config(fork=False, jobs=2)
    )
    assert [(s.name, s.status.value) for s in report.subjects] == [
        ("First", "checked"),
        ("Dies", "crashed"),
        ("Last", "checked"),
    ]
    assert "exit code 9" in report.subjects[1].why


def test_the_order_of_the_report_does_not_depend_on_the_number_of_jobs(write: Write) -> None:
    files = [str(write(CLASSES, f"file{number}.py")) for number in range(3)]
    settings = Config(jobs=1)
    one, four = (
        api.examine(
            "check", files, rules=("forward-raises",), settings=dataclasses.replace(settings, jobs=jobs)
        )
        for jobs in (1, 4)
    )
    assert [(s.file, s.name) for s in one.subjects] == [(s.file, s.name) for s in four.subjects]
    assert len(one.subjects) == 9


def test_what_the_code_is_kept_from_is_said(write: Write) -> None:
    report = api.examine("check", [str(write(CLASSES))], rules=("forward-raises",), settings=Config())
    assert report.environment["confinement"]


THINGS = """
def make():
    class Inner(nn.Module):
        def forward(self, x):
            return x - x.mean(0)
    return Inner()

class Outer(nn.Module):
    def forward(self, x):
        return x * 2

model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
"""


def test_functions_and_objects_can_be_named_and_nothing_is_checked_twice(write: Write) -> None:
    path = write(THINGS, "things.py")
    texts = [f"{path}::make", f"{path}::model", str(path), f"{path}::Outer", str(path.parent)]
    report = api.examine("check", texts, rules=("batch-leak",), settings=Config())
    found = {s.name: s for s in report.subjects}
    assert sorted(s.name for s in report.subjects) == ["Inner", "Outer", "make", "model"]
    assert [r.outcome.value for r in found["make"].results][-1] == "fail"
    assert found["Inner"].why == "it is defined inside the function make, out of reach"
    assert found["model"].file == str(path)


def test_files_of_the_same_name_are_different_files(write: Write) -> None:
    paths = [write(CLASSES, f"{folder}/net.py") for folder in ("a", "b")]
    report = api.examine("check", [str(paths[0].parents[1])], rules=("forward-raises",), settings=Config())
    assert [Path(s.file).parent.name for s in report.subjects] == ["a"] * 3 + ["b"] * 3


@pytest.mark.parametrize(("silence", "status"), [(0.0, Status.CHECKED), (50.0, Status.TIMEOUT)])
def test_a_class_that_only_takes_long_is_checked_in_part(silence: float, status: Status) -> None:
    request = Request("check", (), ("forward-raises", "graph-break"), settings=Config(timeout=60))
    heard = Result("forward-raises", "forward", Outcome.PASS, Severity.ERROR)
    messages = iter([heard, Ended(Status.TIMEOUT, "took more than 60 s")])
    child = SimpleNamespace(receive=lambda: next(messages), end=lambda: None)
    header = SubjectReport("Heavy", "heavy.py")
    one = Examination(request, cast("Any", child), io.BytesIO(), header)
    one.listen()
    one.heard = time.perf_counter() - silence
    report = one.report()
    assert report.status is status
    assert [result.outcome for result in report.results][-1] is Outcome.SKIP
    assert "took more than 60 s" in report.results[-1].why
    assert "took more than 60 s" in report.why
    assert not str(Report((merged([report, header]),))).startswith("✓")
    assert not str(Report((merged([header, report]),))).startswith("✓")


UNCALLABLE = """
class Strange(nn.Module):
    def __init__(self, dim: int, theta: float = 1e4):
        super().__init__()
        self.linear = nn.Linear(dim, dim)

    def forward(self, spec):
        if spec.kind != "a very special kind":
            raise ValueError("no")
        return self.linear(padded(spec.value))


class Plain(nn.Module):
    def __init__(self, dim: int, scale: float = 1e4):
        super().__init__()
        self.linear, self.scale = nn.Linear(dim, dim), scale

    def forward(self, spec):
        if spec.kind != "a very special kind":
            raise ValueError("no")
        return self.linear(spec.value * self.scale)
"""


def test_a_class_that_nobody_could_call_is_read_all_the_same(write: Write) -> None:
    rules = ("forward-raises", "undefined-name", "ignored-argument")
    report = api.examine("check", [str(write(UNCALLABLE))], rules=rules, settings=Config(jobs=1))
    strange, plain = report.subjects
    assert {subject.status for subject in (strange, plain)} == {Status.SKIPPED}
    assert {(result.rule, finding.where) for result, finding in strange.findings()} == {
        ("undefined-name", "padded"),
        ("ignored-argument", "theta"),
    }
    assert not [*plain.findings()]


HIDING = """
class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def parameters(self, x):
        return self.linear(x)

    def forward(self, x):
        return self.parameters(x).tanh()
"""


def test_a_class_that_breaks_what_examines_it_is_read_all_the_same(write: Write) -> None:
    rules = ("forward-raises", "module-method-overridden")
    (subject,) = api.examine("check", [str(write(HIDING))], rules=rules, settings=Config(jobs=1)).subjects
    assert [finding.where for _, finding in subject.findings()] == ["parameters"]


def test_many_classes_are_asked_in_one_process_what_few_are_in_two(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules, told = ("forward-raises", "graph-break", "unused-parameter"), []
    for many in (0, 100):
        monkeypatch.setattr("layersmith.client.MANY", many)
        subjects = api.examine("check", [str(write(COMPILED))], rules=rules, settings=Config(jobs=1)).subjects
        told.append([(s.name, s.status, [r.rule for r, _ in s.findings()]) for s in subjects])
    assert told[0] == told[1] == [("Branches", Status.CHECKED, ["graph-break"])]


COMPILED = """
class Branches(nn.Module):
    def forward(self, x):
        return x * 2 if x.sum() > 0 else x
"""


def test_a_folder_that_an_import_would_make_is_not_made(write: Write) -> None:
    file = write(f"import os\nos.makedirs('checkpoints/best', exist_ok=True)\n{CLASSES}")
    report = api.examine("check", [f"{file}::First"], rules=("forward-raises",), settings=Config())
    assert [subject.status for subject in report.subjects] == [Status.CHECKED]
    assert not Path("checkpoints").exists()
