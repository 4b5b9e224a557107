"""The report: all results plus the environment; the only thing that renderers see."""

from __future__ import annotations

import dataclasses
import io
import math
import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from layersmith.causes import grouped
from layersmith.errors import CheckError
from layersmith.finding import Finding, Measurement, Outcome, Result, Severity, Status, Suggestion
from layersmith.load.lock import Entry

SCHEMA = 1
BAD = (Status.CRASHED, Status.TIMEOUT, Status.STALE)


@dataclass(frozen=True, slots=True)
class SubjectReport:
    """Everything that is known about one subject at the end."""

    name: str
    file: str = ""
    line: int = 0
    status: Status = Status.CHECKED
    why: str = ""  # when it is not CHECKED, or not in full
    hint: str = ""  # the smallest thing that would help, ready to paste
    inferred_from: str = ""
    key: str = ""  # in the lock file, where there is one
    entry: Entry | None = None  # what to keep there
    unlocked: str = ""  # why what is there was of no use
    results: tuple[Result, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    suggestion: str = ""  # a repair of the source, as a unified diff
    output: str = ""  # the end of what the module printed
    seconds: float = 0.0

    def holding(self, items: Iterable[Result | Measurement | Suggestion]) -> SubjectReport:
        """The same with what its rules and probes said, in that order."""
        said = tuple(items)
        return dataclasses.replace(
            self,
            results=grouped(item for item in said if isinstance(item, Result)),
            measurements=tuple(item for item in said if isinstance(item, Measurement)),
            suggestion="".join(item.diff for item in said if isinstance(item, Suggestion)),
        )

    def findings(self) -> Iterator[tuple[Result, Finding]]:
        """Every finding with its result, gravest first."""
        pairs = [(result, finding) for result in self.results for finding in result.findings]
        order = list(Severity)
        yield from sorted(pairs, key=lambda pair: order.index(pair[0].severity_of(pair[1])))

    def count(self, severity: Severity) -> int:
        """How many findings have this severity."""
        return sum(result.severity_of(finding) is severity for result, finding in self.findings())


@dataclass(frozen=True, slots=True)
class Report:
    """What a verb found out about all its subjects."""

    subjects: tuple[SubjectReport, ...]
    verb: str = "check"
    environment: Mapping[str, str] = field(default_factory=lambda: environment())  # noqa: PLW0108 - defined below
    interrupted: bool = False
    is_confined: bool = True  # or else the environment says what the code could have done
    shows_output: bool = False  # whether what the code printed is shown with every subject
    shows_reasons: bool = False  # whether each rule that does not apply is named, with why

    @property
    def ok(self) -> bool:
        """Whether no finding has error severity, and no subject crashed, ran out of time or has a stale hint."""
        return not any(subject.count(Severity.ERROR) or subject.status in BAD for subject in self.subjects)

    def findings(self) -> Iterator[tuple[SubjectReport, Result, Finding]]:
        """Every finding of every subject."""
        for subject in self.subjects:
            for result, finding in subject.findings():
                yield subject, result, finding

    def raise_for_failures(self) -> None:
        """Raise CheckError (an AssertionError) naming every error; do nothing when the report is ok."""
        if self.ok:
            return
        lines = [
            f"{subject.name}: {result.rule}: {finding.message}"
            for subject, result, finding in self.findings()
            if result.severity_of(finding) is Severity.ERROR
        ]
        lines += [f"{s.name}: {s.status}: {s.why}" for s in self.subjects if s.status in BAD]
        raise CheckError("\n".join(lines))

    def summary(self) -> dict[str, int]:
        """How many subjects, findings by severity, and rules by outcome."""
        statuses = Counter(subject.status for subject in self.subjects)
        outcomes = Counter(result.outcome for subject in self.subjects for result in subject.results)
        return {
            "subjects": len(self.subjects),
            **{status.value: statuses[status] for status in Status},
            **{f"{severity}s": sum(s.count(severity) for s in self.subjects) for severity in Severity},
            "rules_run": outcomes[Outcome.PASS] + outcomes[Outcome.FAIL],
            "rules_passed": outcomes[Outcome.PASS],
            "rules_failed": outcomes[Outcome.FAIL],
            "rules_skipped": outcomes[Outcome.SKIP],
            "rules_broken": outcomes[Outcome.BROKEN],
        }

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, schema 1: ready for `json.dumps`."""
        return {
            "schema": SCHEMA,
            "verb": self.verb,
            "environment": dict(self.environment),
            "interrupted": self.interrupted,
            "summary": self.summary(),
            "subjects": [_subject_dict(subject) for subject in self.subjects],
        }

    def __str__(self) -> str:
        """The report as the command line prints it into a file."""
        from layersmith.render import terminal  # noqa: PLC0415 - as below

        return terminal.text(self)

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        from layersmith.render import terminal  # noqa: PLC0415 - the one look down: a report shows itself

        yield from terminal.renderables(self)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        from rich.console import Console  # noqa: PLC0415 - only in Jupyter

        console = Console(record=True, width=100, file=io.StringIO())
        console.print(self)
        return {
            "text/plain": str(self),
            "text/html": console.export_html(inline_styles=True, code_format="<pre>{code}</pre>"),
        }


def environment() -> dict[str, str]:
    """Versions and platform, without importing what they are about."""
    found = {"python": platform.python_version(), "platform": platform.platform(terse=True)}
    for package in ("layersmith", "torch", "numpy"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "unknown"
    return found


def _subject_dict(subject: SubjectReport) -> dict[str, Any]:
    return {
        "name": subject.name,
        "file": subject.file,
        "line": subject.line,
        "status": subject.status.value,
        "why": subject.why,
        "hint": subject.hint,
        "inferred_from": subject.inferred_from,
        "unlocked": subject.unlocked,
        "seconds": round(subject.seconds, 6),
        "output": subject.output,
        "results": [_result_dict(result) for result in subject.results],
        "measurements": [_measurement_dict(measurement) for measurement in subject.measurements],
        "suggestion": subject.suggestion,
    }


def _result_dict(result: Result) -> dict[str, Any]:
    return {
        "rule": result.rule,
        "group": result.group,
        "outcome": result.outcome.value,
        "severity": result.severity.value,
        "seconds": round(result.seconds, 6),
        "why": result.why,
        "applies": result.applies,
        "script": result.script,
        "findings": [
            {
                "message": finding.message,
                "severity": result.severity_of(finding).value,
                "where": finding.where,
                "file": finding.file,
                "line": finding.line,
                "fix": finding.fix,
                "numbers": {name: _json_number(value) for name, value in finding.numbers.items()},
                "also_seen_as": list(finding.also_seen_as),
            }
            for finding in result.findings
        ],
    }


def _measurement_dict(measurement: Measurement) -> dict[str, Any]:
    return {
        "name": measurement.name,
        "value": _json_number(measurement.value),
        "unit": measurement.unit,
        "spread": _json_number(measurement.spread),
        "where": measurement.where,
    }


def _json_number(value: float) -> float | str:
    """JSON has no NaN and no infinity: those become the strings "nan", "inf", "-inf"."""
    return value if math.isfinite(value) else str(value)


def merged(parts: Iterable[SubjectReport]) -> SubjectReport:
    """One report of a subject whose rules ran in several processes; the first says how it was built."""
    first, *others = parts
    results = {result.rule: result for part in (first, *others) for result in part.results}
    results |= {result.rule: result for result in first.results}
    return dataclasses.replace(
        first,
        results=grouped(results.values()) if first.status is not Status.SKIPPED else first.results,
        why=first.why or next((part.why for part in others if part.why), ""),
        output=next((part.output for part in (first, *others) if part.output), ""),
        seconds=sum(part.seconds for part in (first, *others)),
    )
