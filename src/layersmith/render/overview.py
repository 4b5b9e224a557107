"""The end of a report on many classes: what was skipped and why, what would unlock most, findings by rule."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from layersmith.finding import Severity, Status
from layersmith.report import Report, SubjectReport

NAMES_SHOWN = 4
_NEEDS = re.compile(r"needs (\S+), which is not installed")
_IMPORT = re.compile(r"^import of .* raised (\w+) at (\S+:\d+)")
_FAILS = "an import fails at "
_TRUST = "run it with "  # how the hint begins where the code was refused something
_KINDS = (  # what the beginning of a reason means
    ("no way to build", "no way to build it was found"),
    ("no way to call", "no way to call it was found"),
    ("no way to", "no way to build or call it was found"),
    ("it is defined inside", "defined inside a function, out of reach"),
)


@dataclass(frozen=True, slots=True)
class Skipped:
    """The classes that were not checked for one reason."""

    reason: str
    names: tuple[str, ...]
    hint: str  # what would help with most of them


def lines(report: Report) -> Iterator[str]:
    """The overview, line by line; nothing for a report on one class."""
    if len(report.subjects) < 2:  # noqa: PLR2004 - one class needs no overview
        return
    if found := [*_findings(report)]:
        yield "findings by rule:"
        yield from (f"  {line}" for line in found)
    groups = skipped(report)
    if groups:
        yield "not checked:"
    for group in groups:
        yield f"  {len(group.names)}  {group.reason}: {_listed(group.names)}"
    if groups and (first := max(groups, key=lambda group: len(group.names) * bool(group.hint))).hint:
        yield f"most would be unlocked by: {first.hint}"
    if missing := sum(bool(subject.unlocked) for subject in report.subjects):
        yield f"{_counted(missing, 'class')} not as in layersmith.lock: `layersmith infer` brings it up to date"


def plain(report: Report) -> dict[str, Any]:
    """The overview as plain values: findings by rule, and what was not checked with what would help."""
    rules: dict[str, Counter[str]] = defaultdict(Counter)
    for _, result, finding in report.findings():
        rules[result.rule][result.severity_of(finding).value] += 1
    groups = [{"reason": g.reason, "classes": [*g.names], "hint": g.hint} for g in skipped(report)]
    return {"findings": {rule: dict(rules[rule]) for rule in sorted(rules)}, "not_checked": groups}


def skipped(report: Report) -> list[Skipped]:
    """The reasons for which classes were not checked, the most frequent first."""
    groups: dict[str, list[SubjectReport]] = defaultdict(list)
    for subject in report.subjects:
        if subject.status is not Status.CHECKED:
            groups[_reason(subject)].append(subject)
    found = [
        Skipped(reason, tuple(s.name for s in group), _hint(reason, group))
        for reason, group in groups.items()
    ]
    return sorted(found, key=lambda one: -len(one.names))


def _findings(report: Report) -> Iterator[str]:
    """Each rule that has findings, with how many of which severity in how many classes."""
    counts: dict[str, Counter[Severity]] = defaultdict(Counter)
    classes: dict[str, set[int]] = defaultdict(set)
    for subject, result, finding in report.findings():
        counts[result.rule][result.severity_of(finding)] += 1
        classes[result.rule].add(id(subject))
    width = max(map(len, counts), default=0)
    gravity = [*Severity]

    def rank(rule: str) -> tuple[int, int, str]:
        worst = min(gravity.index(severity) for severity in counts[rule])
        return worst, -counts[rule].total(), rule

    for rule in sorted(counts, key=rank):
        told = ", ".join(_counted(counts[rule][s], s.value) for s in gravity if counts[rule][s])
        yield f"{rule:{width}}  {told} in {_counted(len(classes[rule]), 'class')}"


def _reason(subject: SubjectReport) -> str:
    if failed := _IMPORT.search(subject.why):
        return f"{_FAILS}{failed[2]} ({failed[1]})"
    if subject.status is not Status.SKIPPED:
        return {
            Status.CRASHED: "crashed",
            Status.TIMEOUT: "ran out of time",
            Status.STALE: "its example no longer fits",
        }[subject.status]
    if needed := _NEEDS.search(subject.why):
        return f"needs {needed[1]}, which is not installed"
    if subject.hint.startswith(_TRUST):
        return "it wants the network, or to write files"
    return next((said for start, said in _KINDS if subject.why.startswith(start)), subject.why)


def _hint(reason: str, group: list[SubjectReport]) -> str:
    """What would help: an installation, an import that works, trust, or a hint in the class that most others speak of."""
    if reason.startswith("needs ") and reason.endswith("not installed"):
        return f"pip install {reason.split()[1].rstrip(',').partition('.')[0]}"
    if reason.startswith(_FAILS):
        return f"mending {reason.removeprefix(_FAILS)}"
    if reason.startswith("it wants the network"):
        return group[0].hint
    if not reason.startswith("no way"):
        return ""
    names = [subject.name for subject in group]
    spoken_of = Counter(name for name in names for other in group if re.search(rf"\b{name}\(", other.why))
    first = next(s for s in group if s.name == (spoken_of or Counter(names)).most_common(1)[0][0])
    return f"an example in {first.name} (see its hint above)" if first.hint else ""


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:NAMES_SHOWN])
    return shown if len(names) <= NAMES_SHOWN else f"{shown} and {len(names) - NAMES_SHOWN} more"


def _counted(number: int, word: str) -> str:
    plural = "es" if word.endswith("s") else "s"
    return f"{number} {word}{plural if number != 1 else ''}"
