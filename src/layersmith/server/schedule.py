"""Has the classes of all targets examined, so many at a time; whatever ends a child costs its own result only."""

from __future__ import annotations

import math
import tempfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import IO

from layersmith.errors import UsageError
from layersmith.finding import Status
from layersmith.isolation import Child, Ended, start, tree
from layersmith.isolation.child import LOOK
from layersmith.load.target import Target
from layersmith.report import SubjectReport
from layersmith.server import file as file_process
from layersmith.server.messages import Class, Failed, Found, Imported, Reported, Request
from layersmith.server.subject import tail

IMPORT_FACTOR = 2.0  # importing a file may take so many times as long as a class
GRACE = 60.0  # seconds of silence of a target's process, beyond the time limit that it sets its own children
Event = Found | Failed | Reported | UsageError


def examined(request: Request, *, private: Connection) -> Iterator[Event]:
    """What is found and reported, as it comes.

    Args:
        request: what to examine.
        private: a connection that the children have no business with.
    """
    schedule = _Schedule(request, private, deque(request.targets))
    try:
        while schedule.waiting or schedule.files:
            schedule.give_work()
            wait([file.child.connection for file in schedule.files], LOOK)
            for file in [*schedule.files]:
                yield from schedule.listen(file)
    finally:
        for file in schedule.files:
            file.end()


@dataclass(slots=True)
class _File:
    """A target, the process that has imported it, and how far that one is."""

    target: Target
    child: Child
    commands: Connection
    output: IO[bytes]
    classes: tuple[Class, ...] = ()
    is_imported: bool = False
    todo: deque[int] = field(default_factory=deque)
    running: set[int] = field(default_factory=set)

    @property
    def load(self) -> int:
        """How many processes are at work for it."""
        return len(self.running) if self.is_imported else 1

    def end(self) -> None:
        """End its process and all below."""
        self.commands.close()
        self.child.end()
        self.output.close()


@dataclass(slots=True)
class _Schedule:
    """All targets: those to come and those at hand."""

    request: Request
    private: Connection
    waiting: deque[Target]
    files: list[_File] = field(default_factory=list)
    seen: set[tuple[str, str]] = field(default_factory=set)

    def give_work(self) -> None:
        """Keep as many processes at work as there are jobs; the earliest target first."""
        while sum(file.load for file in self.files) < self.request.settings.jobs:
            file = next((file for file in self.files if file.todo), None)
            if file is not None:
                index = file.todo.popleft()
                file.running.add(index)
                file.child.seconds = self.request.settings.timeout + GRACE
                file.child.renew()
                file.commands.send(index)
            elif self.waiting:
                self.files.append(self.open(self.waiting.popleft()))
            else:
                return

    def open(self, target: Target) -> _File:
        """Start the process of a target."""
        ours, theirs = Pipe()
        output = tempfile.NamedTemporaryFile(delete=False)  # noqa: SIM115 - closed with the file's process
        settings = self.request.settings
        child = start(
            partial(file_process.serve, self.request, target, theirs),
            seconds=settings.timeout * IMPORT_FACTOR,
            jobs=settings.jobs,
            output=output,
            fork=settings.fork,
            close=[self.private, ours, *(file.commands for file in self.files)],
        )
        theirs.close()
        return _File(target, child, ours, output)

    def listen(self, file: _File) -> Iterator[Event]:
        """Take in what a target's process has sent."""
        while (event := file.child.receive()) is not None:
            if isinstance(event, Ended):
                self.close(file)
                yield from self.mourn(file, event)
                return
            if isinstance(event, Imported):
                file_process.warm(event.names if self.waiting else ())
                continue
            if isinstance(event, UsageError):
                yield event
                continue
            if isinstance(event, Found):
                event = self.begin(file, event)
            elif isinstance(event, Reported):
                file.running.discard(event.index)
            yield event
            if isinstance(event, Failed) or (file.is_imported and not file.todo and not file.running):
                self.close(file)
                return
            file.child.renew()
            if file.is_imported and not file.running:
                file.child.deadline = math.inf  # it only waits for work

    def begin(self, file: _File, found: Found) -> Found:
        """Note the classes to examine: those that no other target has brought."""
        new = [one for one in found.classes if one.place not in self.seen]
        file.todo.extend(one.index for one in new)
        file.classes, file.is_imported = found.classes, True
        self.seen |= {one.place for one in new}
        return Found(found.target, tuple(new))

    def close(self, file: _File) -> None:
        """End a target's process."""
        self.files.remove(file)
        file.end()
        tree.end_orphans(keep={other.child.pid for other in self.files})

    def mourn(self, file: _File, ended: Ended) -> Iterator[Event]:
        """What a target's process that died leaves: its running classes are lost, the others get a new one."""
        with open(file.output.name, "rb") as output:  # noqa: PTH123 - a temporary file's name
            printed = tail(output, " after printing: ")
        if not file.is_imported:
            yield Failed(file.target, f"import of {file.target} failed: {ended.why}{printed}")
            return
        lost = file.running or set(file.todo)
        status = ended.status if ended.status is not Status.CHECKED else Status.CRASHED
        why = ended.why or "the process of its file ended"
        for index in sorted(lost):
            name = file.classes[index].name
            yield Reported(file.target, index, SubjectReport(name, file.target.path, status=status, why=why))
        rest = [index for index in file.todo if index not in lost]
        if rest:
            self.resume(file, rest)

    def resume(self, file: _File, rest: list[int]) -> None:
        """Import a target anew for the classes that are left."""
        again = self.open(file.target)
        again.classes, again.is_imported = file.classes, True
        again.todo.extend(rest)
        self.files.append(again)
