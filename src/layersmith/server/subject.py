"""The examination of one class: what its process does, and what comes in from there."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from layersmith.finding import Outcome, Result, Status
from layersmith.isolation import Child, Ended, Send, confine, start
from layersmith.isolation.guard import LIFTED_BY
from layersmith.load.target import Target
from layersmith.report import SubjectReport
from layersmith.server.messages import Request

if TYPE_CHECKING:
    from layersmith.load.unbuildable import Unbuildable

TRUST = f"run it with {LIFTED_BY} if you trust this code"
OUTPUT_KEPT = 10_000  # characters of what a module printed


@dataclass(slots=True)
class Examination:
    """One class under examination in a child of its own, and what that child has sent."""

    request: Request
    child: Child
    output: IO[bytes]
    header: SubjectReport
    parts: list[Any] = field(default_factory=list)
    ended: Ended = field(default_factory=Ended)
    started: float = field(default_factory=time.perf_counter)

    @classmethod
    def begin(
        cls, request: Request, target: Target, index: int, name: str, *, close: Iterable[Connection]
    ) -> Examination:
        """Start the child."""
        output = tempfile.NamedTemporaryFile(delete=False)  # noqa: SIM115 - closed by `report`
        child = start(
            partial(examine, request, target, index),
            seconds=request.settings.timeout,
            jobs=request.settings.jobs,
            output=output,
            fork=request.settings.fork,
            close=close,
        )
        return cls(request, child, output, SubjectReport(name, target.path))

    def listen(self) -> Ended | None:
        """Take in what has come; an `Ended` when that was all."""
        while (item := self.child.receive()) is not None:
            if isinstance(item, Ended):
                self.ended = item
                self.child.end()
                return item
            if isinstance(item, SubjectReport):
                self.header = item
            else:
                self.parts.append(item)
        return None

    def report(self) -> SubjectReport:
        """Everything put together, after the end."""
        from layersmith import registry  # noqa: PLC0415 - the rules need torch

        rules = registry.with_prerequisites(self.request.rules)
        results = [part for part in self.parts if isinstance(part, Result)]
        found = self.header
        if self.ended.status is not Status.CHECKED:
            running = next((rule.id for rule in rules if rule.id not in {r.rule for r in results}), "")
            where = f"while {running} ran" if running and results else "while it was built and called"
            found = replace(found, status=self.ended.status, why=f"{self.ended.why}, {where}")
            done = {result.rule for result in results}
            results += [
                Result(rule.id, rule.group, Outcome.SKIP, rule.severity, why=found.why)
                for rule in rules
                if rule.id not in done
            ]
        rest = (part for part in self.parts if not isinstance(part, Result))
        printed, seconds = tail(self.output, ""), time.perf_counter() - self.started
        self.output.close()
        return replace(found.holding([*results, *rest]), output=printed, seconds=seconds)


def examine(request: Request, target: Target, index: int, send: Send) -> None:
    """The child's work: find a way to build and call the class, then run rules and probes on it."""
    from layersmith import registry, runner  # noqa: PLC0415 - needs torch
    from layersmith.load.build import subject_of_class  # noqa: PLC0415 - needs torch
    from layersmith.load.unbuildable import Unbuildable  # noqa: PLC0415 - as above
    from layersmith.probe import source  # noqa: PLC0415 - as above
    from layersmith.server.file import classes  # noqa: PLC0415 - it starts what this file describes

    if not request.settings.fork:  # as in the process of the file
        confine(Path(request.scratch), unconfined=request.settings.unconfined)
    cls = classes(target)[index]
    header = SubjectReport(cls.__name__, *source.class_line(cls))
    send(header)
    try:
        found = subject_of_class(cls, inputs=request.inputs or None)
    except Unbuildable as error:
        send(replace(header, status=Status.SKIPPED, why=error.why, hint=_hint(error)))
        return
    waived = request.settings.waivers_of(cls.__module__, cls.__name__)
    found = replace(found, contract=found.contract.waiving(waived))
    registry.require_sound(found.contract)
    send(replace(header, inferred_from=found.inferred_from))
    rules = registry.with_prerequisites(request.rules)
    for item in runner.examine(found, request.verb, rules, seed=request.seed):
        send(item)


def _hint(error: Unbuildable) -> str:
    """The hint; what the confinement refused is no matter of how the class is called."""
    return TRUST if LIFTED_BY in error.why else error.hint


def tail(output: IO[bytes], before: str) -> str:
    """The end of what was printed, after `before`; "" if nothing was."""
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - 4 * OUTPUT_KEPT))
    text = output.read().decode("utf-8", errors="replace").strip()[-OUTPUT_KEPT:]
    return f"{before}{text}" if text else ""
