"""The process that imports torch once and examines every class in a child of its own.

The command line's process never runs the user's code and never imports torch. It starts this one, sends a
Request to its standard input and reads pickled events from its standard output.
"""

from __future__ import annotations

import importlib
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from typing import IO, TYPE_CHECKING, Any

from layersmith.config import Config
from layersmith.errors import LayersmithError, UsageError
from layersmith.finding import Outcome, Result, Status
from layersmith.isolation import Ended, Send, supervised
from layersmith.load.target import Target
from layersmith.report import SubjectReport

if TYPE_CHECKING:
    from torch import nn

    from layersmith.rule import Rule

Rules = tuple["Rule", ...]
OUTPUT_KEPT = 2_000  # characters of what a module printed
IMPORT_GRACE = 60.0  # seconds that importing a file may take, beside the time limit of a subject


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line wants: one verb on some targets."""

    verb: str
    targets: tuple[Target, ...]
    rules: tuple[str, ...]  # ids; what they need first is added
    inputs: str = ""  # notation; "" to find them
    settings: Config = field(default_factory=Config)
    seed: int = 0
    warm: tuple[str, ...] = ()  # modules to import before the first fork


@dataclass(frozen=True, slots=True)
class Found:
    """The classes of one target, before any is examined."""

    target: Target
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reported:
    """One class of a target, examined."""

    target: Target
    index: int  # among the classes found
    report: SubjectReport


@dataclass(frozen=True, slots=True)
class Failed:
    """A target that could not be imported."""

    target: Target
    why: str


def main() -> None:
    """Serve one request, then end."""
    events = Connection(os.dup(1), readable=False)
    os.dup2(2, 1)  # a stray print of some library must not end up among the events
    request: Request = Connection(os.dup(0), writable=False).recv()
    rules = _warm(request)
    if (refusal := _refusal(request)) is not None:
        events.send(refusal)
        return
    for target in request.targets:
        for event in _target(request, rules, target):
            events.send(event)
    events.send(Ended())


def _refusal(request: Request) -> UsageError | None:
    """What is wrong with the request itself, if anything."""
    from layersmith.load import notation  # noqa: PLC0415 - needs torch

    try:
        notation.parse(request.inputs)
    except UsageError as error:
        return error
    return None


def _warm(request: Request) -> tuple[Rule, ...]:
    """Import what every child needs, once: torch, the way to build, the rules."""
    for name in ("torch", "layersmith.load.build", "layersmith.runner", *request.warm):
        importlib.import_module(name)
    from layersmith import registry  # noqa: PLC0415 - imports torch

    return registry.with_prerequisites(request.rules)


def _target(request: Request, rules: Rules, target: Target) -> Iterator[Found | Failed | Reported]:
    """Import the target in a child, which forks again for each class: a file can harm only itself."""
    with tempfile.TemporaryFile() as output:
        work = supervised(
            lambda send: _file(request, rules, target, send),
            seconds=request.settings.timeout + IMPORT_GRACE,
            renew=True,
            output=output,
        )
        for event in work:
            if not isinstance(event, Ended):
                yield event
            elif event.status is not Status.CHECKED:
                yield Failed(
                    target, f"import of {target} failed: {event.why}{_tail(output, ' after printing: ')}"
                )


def _file(request: Request, rules: Rules, target: Target, send: Send) -> None:
    from layersmith.load import discovery, importing  # noqa: PLC0415 - needs torch

    try:
        classes = discovery.classes(importing.import_target(target), target.name)
    except LayersmithError as error:
        send(Failed(target, str(error)))
        return
    send(Found(target, tuple(cls.__name__ for cls in classes)))
    for index, cls in enumerate(classes):
        send(Reported(target, index, _subject(request, rules, cls)))


def _subject(request: Request, rules: Rules, cls: type[nn.Module]) -> SubjectReport:
    """Examine one class in a child of its own and put together what it sent."""
    start = time.perf_counter()
    report, parts, ended = SubjectReport(cls.__name__), [], Ended()
    with tempfile.TemporaryFile() as output:
        for item in supervised(
            lambda send: _examine(request, rules, cls, send), seconds=request.settings.timeout, output=output
        ):
            if isinstance(item, SubjectReport):
                report = item
            elif isinstance(item, Ended):
                ended = item
            else:
                parts.append(item)
        printed = _tail(output, "")
    results = [part for part in parts if isinstance(part, Result)]
    if ended.status is not Status.CHECKED:
        report = replace(report, status=ended.status, why=_blamed(rules, results, ended.why))
        results += _unfinished(rules, results, report.why)
    rest = (part for part in parts if not isinstance(part, Result))
    return replace(report.holding([*results, *rest]), output=printed, seconds=time.perf_counter() - start)


def _examine(request: Request, rules: Rules, cls: type[nn.Module], send: Send) -> None:
    """The child's work: find a way to build and call the class, then run rules and probes on it."""
    from layersmith import registry, runner  # noqa: PLC0415 - needs torch
    from layersmith.load.build import subject_of_class  # noqa: PLC0415 - needs torch
    from layersmith.load.unbuildable import Unbuildable  # noqa: PLC0415 - as above
    from layersmith.probe import source  # noqa: PLC0415 - as above

    file, line = source.class_line(cls)
    header = SubjectReport(cls.__name__, file, line)
    send(header)
    try:
        subject = subject_of_class(cls, inputs=request.inputs or None)
    except Unbuildable as error:
        send(replace(header, status=Status.SKIPPED, why=error.why, hint=error.hint))
        return
    waived = request.settings.waivers_of(cls.__module__, cls.__name__)
    subject = replace(
        subject, contract=subject.contract.waiving(waived), gradients=request.settings.gradients
    )
    registry.require_known(subject.contract.waived)
    send(replace(header, inferred_from=subject.inferred_from))
    for item in runner.examine(subject, request.verb, rules, seed=request.seed):
        send(item)


def _blamed(rules: Rules, results: list[Result], why: str) -> str:
    """Which rule was running when the process ended."""
    done = {result.rule for result in results}
    running = next((rule.id for rule in rules if rule.id not in done), "")
    return f"{why}, while {running} ran" if running and results else f"{why}, while it was built and called"


def _unfinished(rules: Rules, results: list[Result], why: str) -> list[Result]:
    done = {result.rule for result in results}
    return [
        Result(rule.id, rule.group, Outcome.SKIP, rule.severity, why=why)
        for rule in rules
        if rule.id not in done
    ]


def _tail(output: IO[bytes], before: str) -> str:
    """The end of what was printed, after `before`; "" if nothing was."""
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - 4 * OUTPUT_KEPT))
    text: Any = output.read().decode("utf-8", errors="replace").strip()[-OUTPUT_KEPT:]
    return f"{before}{text}" if text else ""
