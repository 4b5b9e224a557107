"""What is said about a module: measurements (no opinion), findings (an opinion with its numbers), results."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field


class Severity(enum.StrEnum):
    """How grave a finding is."""

    ERROR = "error"  # a broken promise, certain
    WARNING = "warning"  # almost surely a bug
    NOTE = "note"  # worth knowing


class Outcome(enum.StrEnum):
    """How one rule on one subject ended."""

    PASS = "pass"  # noqa: S105 - an outcome, not a password
    FAIL = "fail"
    SKIP = "skip"  # not applicable, waived, or a prerequisite did not pass: `why` says which
    BROKEN = "broken"  # the rule itself crashed: never blamed on the module


class Status(enum.StrEnum):
    """How the examination of one subject ended."""

    CHECKED = "checked"
    SKIPPED = "skipped"  # it could not be built or called: `why` says what would help
    CRASHED = "crashed"  # its process died
    TIMEOUT = "timeout"  # it ran past its time limit
    STALE = "stale"  # what the user said of how it is built and called no longer fits: `why` says how


@dataclass(frozen=True, slots=True)
class Measurement:
    """A number and nothing more: what was measured, where, in which unit, how much it varies."""

    name: str
    value: float
    unit: str = ""
    spread: float = 0.0  # half the interquartile range of repeated measurements, in the same unit
    where: str = ""  # path of the submodule or parameter, "" for the whole module


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A change to the user's source, as a unified diff."""

    diff: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem at one place, with the numbers that show it and what to do about it."""

    message: str
    where: str = (
        ""  # path of a parameter, buffer or submodule; "output[0]", "input[1]"; "" for the whole module
    )
    file: str = ""
    line: int = 0  # 1-based; 0 when no line is to blame
    fix: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)
    severity: Severity | None = None  # when this finding is less (or more) certain than its rule says
    also_seen_as: tuple[str, ...] = ()  # what other rules saw of the same cause: "rule: message"


@dataclass(frozen=True, slots=True)
class Result:
    """The end of one rule on one subject."""

    rule: str
    group: str
    outcome: Outcome
    severity: Severity
    findings: tuple[Finding, ...] = ()
    why: str = ""
    seconds: float = 0.0
    script: str = ""  # shows a failure without Layersmith
    applies: bool = True  # False where the rule has nothing to ask of this module: `why` says why

    def severity_of(self, finding: Finding) -> Severity:
        """The finding's own severity, or else its rule's."""
        return finding.severity or self.severity
