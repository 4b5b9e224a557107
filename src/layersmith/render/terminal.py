"""The report for people: one block a subject, findings first; readable without colour, in 80 columns."""

from __future__ import annotations

import io
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from layersmith.finding import Finding, Outcome, Result, Severity, Status
from layersmith.render import curves, overview, tables
from layersmith.report import Report, SubjectReport

STYLE = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}
MARK = {Severity.ERROR: "✗", Severity.WARNING: "!", Severity.NOTE: "·"}
WIDTH_WITHOUT_TERMINAL = 80
OUTPUT_SHOWN = 300  # characters, unless all of it is asked for
NAMED = 2  # rules that were skipped for one reason; more are counted
HOOKS = "a training step; hooks that time submodules cost some µs a call, (whole) has none"


def write(report: Report, file: TextIO) -> None:
    """Print the report; a terminal's own width and colours are used, a file gets 80 plain columns."""
    if isinstance(file, io.TextIOWrapper):
        file.reconfigure(errors="replace")  # a mark that the encoding lacks is no reason to lose the report
    console = Console(file=file, highlight=False)
    if console.is_terminal:
        _print(report, console)
    else:
        file.write(text(report))


def text(report: Report) -> str:
    """The report as plain text, of 80 columns unless COLUMNS says otherwise, without blanks at line ends."""
    width = None if "COLUMNS" in os.environ else WIDTH_WITHOUT_TERMINAL
    console = Console(
        file=io.StringIO(), highlight=False, width=width, color_system=None, force_terminal=False
    )
    with console.capture() as capture:
        _print(report, console)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def _print(report: Report, console: Console) -> None:
    for renderable in renderables(report):
        console.print(renderable, crop=False)  # a diff with broken lines could not be applied


def renderables(report: Report) -> Iterator[RenderableType]:
    """The blocks of a report: subjects with findings first, then the others, then one line of summary."""
    gravity = [*Severity]

    def rank(subject: SubjectReport) -> int:
        return next((i for i, severity in enumerate(gravity) if subject.count(severity)), len(gravity))

    ordered = sorted(report.subjects, key=rank)
    told = _told_before(ordered)
    for subject in ordered:
        yield _subject(report, subject, told)
    for line in overview.lines(report):
        yield Text(line)
    yield _summary(report)


def _told_before(subjects: list[SubjectReport]) -> dict[int, str]:
    """Of findings by identity: the class above of which the same rule told the same line.

    A layer's fault shows in every block and model that holds it.
    """
    first: dict[tuple[str, str, int], str] = {}
    told: dict[int, str] = {}
    for subject in subjects:
        for result, finding in subject.findings():
            name = first.setdefault((result.rule, finding.file, finding.line), subject.name)
            if finding.line and name != subject.name:
                told[id(finding)] = name
    return told


def _subject(report: Report, subject: SubjectReport, told: dict[int, str]) -> RenderableType:
    verb = report.verb
    parts: list[RenderableType] = [_headline(subject)]
    if subject.why:
        parts.append(_indented(Text(f"{subject.status}: {subject.why}", STYLE[Severity.WARNING])))
    if subject.hint:
        parts.append(_indented(Text(subject.hint, "cyan")))
    if subject.inferred_from:
        parts.append(_indented(Text(f"ran {subject.inferred_from}", "dim")))
    for result, finding in subject.findings():
        said = _finding(result, finding, subject, told.get(id(finding), ""))
        parts += [_indented(part) for part in said]
    parts += [_indented(Text(line, "dim")) for line in _rules(subject, in_full=report.shows_reasons)]
    if subject.measurements:
        parts.append(_indented(tables.measurements(verb, subject.measurements)))
        parts += _start(subject) if verb == "init" else [_indented(Text(HOOKS, "dim"))]
    if subject.suggestion:
        parts.append(_suggestion(subject.suggestion))
    if subject.output and (report.shows_output or subject.status is not Status.CHECKED):
        parts.append(_indented(Text(_printed(subject.output, whole=report.shows_output), "dim")))
    return Group(*parts, Text(""))


def _printed(output: str, *, whole: bool) -> str:
    if whole or len(output) <= OUTPUT_SHOWN:
        return f"it printed:\n{output}"
    return f"it printed: …{output[-OUTPUT_SHOWN:]}"


def _headline(subject: SubjectReport) -> Text:
    line = Text()
    worst = next((severity for severity in Severity if subject.count(severity)), None)
    if subject.status is not Status.CHECKED:
        line.append("- " if subject.status is Status.SKIPPED else "✗ ", STYLE[Severity.WARNING])
    elif worst is None:
        line.append(*(("~ ", STYLE[Severity.WARNING]) if subject.why else ("✓ ", "bold green")))
    else:
        line.append(f"{MARK[worst]} ", STYLE[worst])
    line.append(subject.name, "bold")
    if subject.line:
        line.append(f"  {_place(subject.file, subject.line)}", "dim")
    counts = [f"{n} {s}{'s' * (n > 1)}" for s in Severity if (n := subject.count(s))]
    if counts:
        line.append(f"  {', '.join(counts)}", STYLE[worst or Severity.NOTE])
    return line


def _finding(
    result: Result, finding: Finding, subject: SubjectReport, above: str
) -> Iterator[RenderableType]:
    severity = result.severity_of(finding)
    headline = Text(f"{MARK[severity]} {result.rule}", STYLE[severity])
    if finding.line and (finding.file, finding.line) != (subject.file, subject.line):
        headline.append(f"  {_place(finding.file, finding.line)}", "bold")
    yield headline
    if above:
        yield _indented(Text(f"as told of {above}" + (f", here at {finding.where}" if finding.where else "")))
        return
    yield _indented(Text(finding.message))
    if finding.fix:
        yield _indented(Text.assemble(("fix: ", "green"), finding.fix))
    if finding.also_seen_as:
        rules = dict.fromkeys(seen.partition(":")[0] for seen in finding.also_seen_as)
        yield _indented(Text(f"also seen as {', '.join(rules)}", "dim"))


def _rules(subject: SubjectReport, *, in_full: bool) -> Iterator[str]:
    """How many rules ran and passed, which were skipped and why."""
    outcomes = Counter(result.outcome for result in subject.results)
    if not subject.results:
        return
    ran = outcomes[Outcome.PASS] + outcomes[Outcome.FAIL]
    moot = sum(not result.applies for result in subject.results)
    if ran:
        yield f"{outcomes[Outcome.PASS]} of {ran} rules passed" + (f"; {moot} do not apply" if moot else "")
    reasons: dict[str, list[str]] = defaultdict(list)
    for result in subject.results:
        if result.why and (result.applies or in_full) and not subject.why.startswith(result.why):
            reasons[_why(result)].append(result.rule)
    yield from (f"{_few(rules, in_full=in_full)}: {why}" for why, rules in reasons.items())


def _few(rules: list[str], *, in_full: bool) -> str:
    return ", ".join(rules) if in_full or len(rules) <= NAMED else f"{len(rules)} rules"


def _why(result: Result) -> str:
    if result.outcome is Outcome.BROKEN:
        said = [
            line for line in result.why.splitlines() if line[:1].strip() and not line.startswith("Traceback")
        ]
        return f"the rule itself crashed, please report it: {said[0] if said else 'no reason given'}"
    return f"skipped, {result.why}" if result.outcome is Outcome.SKIP else result.why


def _summary(report: Report) -> Text:
    summary = report.summary()
    text = Text()
    if report.interrupted:
        text.append("interrupted: the report is incomplete\n", STYLE[Severity.WARNING])
    if not report.is_confined:
        text.append(f"{report.environment['confinement']}\n", STYLE[Severity.WARNING])
    classes = summary["subjects"]
    text.append(f"{classes} class{'es' * (classes != 1)}", "bold")
    for status in Status:
        if count := summary[status.value]:
            text.append(f", {count} {status.value}")
    if summary["rules_run"]:
        text.append(f"; {summary['rules_run']} rules run: ")
        for severity in Severity:
            count = summary[f"{severity}s"]
            separator = ", " if severity is not Severity.ERROR else ""
            style = STYLE[severity] if count else "dim"
            text.append(f"{separator}{count} {severity}{'s' * (count != 1)}", style)
    if broken := summary["rules_broken"]:
        text.append(f", {broken} rule{'s' * (broken != 1)} crashed", STYLE[Severity.WARNING])
    return text


def _start(subject: SubjectReport) -> list[RenderableType]:
    """The curves by depth, and the weights."""
    weights = tables.weights(subject.measurements)
    lines = [_indented(Text(line)) for line in curves.lines(subject.measurements)]
    return [*lines, *([_indented(weights)] if weights is not None else [])]


def _suggestion(diff: str) -> Text:
    """At the margin, so that it can be given to `git apply`."""
    text = Text("\n", no_wrap=True, overflow="ignore")
    styles = {"+": "green", "-": "red", "@": "cyan"}
    for line in diff.splitlines():
        text.append(f"{line}\n", styles.get(line[:1], ""))
    return text


def _place(file: str, line: int) -> str:
    path = Path(file)
    here = Path.cwd()
    shown = path.relative_to(here) if path.is_relative_to(here) else path
    return f"{shown}:{line}"


def _indented(renderable: RenderableType) -> Padding:
    return Padding(renderable, (0, 0, 0, 2))
