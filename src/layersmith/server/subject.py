"""The examination of one class in a process of its own, as the process of its file sees it."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.connection import Connection
from typing import IO, Any

from layersmith.errors import UsageError
from layersmith.finding import Outcome, Result, Status
from layersmith.isolation import Child, Ended, start
from layersmith.load.target import Target
from layersmith.report import SubjectReport
from layersmith.server.examine import examine
from layersmith.server.messages import Imported, Request

OUTPUT_KEPT = 10_000  # characters of what a module printed
GRAVITY = (Outcome.FAIL, Outcome.BROKEN, Outcome.PASS, Outcome.SKIP)


@dataclass(slots=True)
class Examination:
    """One class under examination in a child of its own, and what that child has sent."""

    request: Request
    child: Child
    output: IO[bytes]
    header: SubjectReport
    parts: list[Any] = field(default_factory=list)
    ended: Ended = field(default_factory=Ended)
    imported: Imported | None = None
    refusal: UsageError | None = None  # what is wrong with the request, as only this class shows
    started: float = field(default_factory=time.perf_counter)
    heard: float = 0.0  # when its last result came

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
            elif isinstance(item, UsageError):
                self.refusal = item
            elif isinstance(item, Imported):
                self.imported = item
            else:
                self.parts.append(item)
                self.heard = time.perf_counter()
        return None

    @property
    def is_slow(self) -> bool:
        """Whether time ran out on a class that only takes long: until the end results kept coming."""
        silence = time.perf_counter() - self.heard
        return self.ended.status is Status.TIMEOUT and silence < self.request.settings.timeout / 2

    def report(self) -> SubjectReport:
        """Everything put together, after the end."""
        from layersmith import registry  # noqa: PLC0415 - the rules need torch

        rules = registry.with_prerequisites(self.request.rules)
        results = _worst(part for part in self.parts if isinstance(part, Result))
        found = self.header
        if self.ended.status is not Status.CHECKED:
            running = next((rule.id for rule in rules if rule.id not in {r.rule for r in results}), "")
            where = f"while {running} ran" if running and results else "while it was built and called"
            why = f"{self.ended.why}, {where}"
            if self.is_slow:
                why = f"no time was left: the class {self.ended.why}; --timeout SECONDS gives more"
            status = found.status if self.is_slow else self.ended.status
            found = replace(found, status=status, why=why)
            done = {result.rule for result in results}
            results += [
                Result(rule.id, rule.group, Outcome.SKIP, rule.severity, why=why)
                for rule in rules
                if rule.id not in done
            ]
        rest = (part for part in self.parts if not isinstance(part, Result))
        printed, seconds = tail(self.output, ""), time.perf_counter() - self.started
        self.output.close()
        return replace(found.holding([*results, *rest]), output=printed, seconds=seconds)


def _worst(results: Iterable[Result]) -> list[Result]:
    """One result a rule, of a class with several examples: the gravest, with the findings of all."""
    found: dict[str, Result] = {}
    for result in results:
        before = found.setdefault(result.rule, result)
        if before is result:
            continue
        gravest = min(before, result, key=_gravity)
        seconds = before.seconds + result.seconds
        found[result.rule] = replace(gravest, findings=before.findings + result.findings, seconds=seconds)
    return [*found.values()]


def _gravity(result: Result) -> int:
    """A waiver that one example needs is not stale because another does not."""
    is_waived = result.outcome is Outcome.SKIP and result.why.startswith("waived: ")
    return GRAVITY.index(Outcome.BROKEN if is_waived else result.outcome)


def tail(output: IO[bytes], before: str) -> str:
    """The end of what was printed, after `before`; "" if nothing was."""
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - 4 * OUTPUT_KEPT))
    text = output.read().decode("utf-8", errors="replace").strip()[-OUTPUT_KEPT:]
    return f"{before}{text}" if text else ""
