"""Has targets examined by other processes and collects what they report; imports no torch, runs no user code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import IO, Any

from layersmith import registry
from layersmith.errors import LayersmithError, UsageError
from layersmith.isolation import Confinement, Ended, tree
from layersmith.isolation.confinement import environment
from layersmith.load.target import Target
from layersmith.report import SubjectReport, merged
from layersmith.server import Confined, Failed, Found, Reported, Request

SERVE = "import sys; from layersmith.server.main import main; main(int(sys.argv[1]))"
CLASS = re.compile(r"^class \w+", re.MULTILINE)
# It imports the compiler as well: torch wraps with that what it computes on meta in Python, as LayerNorm.
IMPORTS_IT_TOO = ("hard-coded-device",)
MANY = 4  # classes a processor: then it takes longer to build them twice than to wait once for the compiler
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
Key = tuple[Target, int]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is: for a progress bar."""

    done: int  # classes that every process has reported
    total: int  # classes known so far
    name: str  # of the class at hand


@dataclass(frozen=True, slots=True)
class Examined:
    """Everything that came in, in the order of the targets and of their lines."""

    subjects: tuple[SubjectReport, ...]
    failed: tuple[Failed, ...]  # targets that could not be imported
    interrupted: bool
    confinement: Confinement


def examine(request: Request, *, on_progress: Callable[[Progress], None] = lambda _: None) -> Examined:
    """Serve the request in processes of its own; Ctrl-C ends them and keeps what has come in.

    Raises:
        UsageError: if the request cannot be served, such as inputs that cannot be read.
        LayersmithError: if one of those processes died, which no class under check can cause.
    """
    interrupted = False
    with tempfile.TemporaryDirectory(prefix="layersmith-", ignore_cleanup_errors=True) as scratch:
        lanes = _lanes(replace(request, scratch=scratch))
        collected = _Collected(request.targets, [{} for _ in lanes])
        try:
            for lane, event in _events(lanes):
                collected.take(lane, event)
                on_progress(collected.progress())
        except KeyboardInterrupt:
            interrupted = True
    return collected.examined(interrupted=interrupted)


@dataclass(slots=True)
class _Collected:
    """What has come in so far, by lane."""

    targets: tuple[Target, ...]
    reports: list[dict[Key, SubjectReport]]
    found: dict[Key, str] = field(default_factory=dict)  # the first lane's classes: their names
    failed: dict[Target, Failed] = field(default_factory=dict)
    confinement: Confinement = field(default_factory=lambda: Confinement("", is_whole=True))

    def take(self, lane: int, event: object) -> None:
        if isinstance(event, Reported):
            self.reports[lane][event.target, event.index] = event.report
        elif isinstance(event, Confined):
            self.confinement = event.confinement
        elif isinstance(event, Failed) and lane == 0:
            self.failed[event.target] = event
        elif isinstance(event, Found) and lane == 0:
            self.found |= {(event.target, one.index): one.name for one in event.classes}

    def progress(self) -> Progress:
        waiting = next((name for key, name in self.found.items() if key not in self.reports[0]), "")
        return Progress(min(map(len, self.reports)), len(self.found), waiting)

    def examined(self, *, interrupted: bool) -> Examined:
        order = {target: number for number, target in enumerate(self.targets)}
        first, *others = self.reports
        keys = sorted(first, key=lambda key: (order[key[0]], key[1]))
        subjects = (merged([first[key], *(o[key] for o in others if key in o)]) for key in keys)
        failed = (self.failed[target] for target in self.targets if target in self.failed)
        return Examined(tuple(subjects), tuple(failed), interrupted, self.confinement)


def _lanes(request: Request) -> list[Request]:
    """The request, less the rules that compile, and those for a process beside it.

    Where classes alone keep every processor at work, one process asks all rules: each class is built once.
    """
    files = registry.rule_files()
    compiling = {id_ for id_ in request.rules if files[id_].parent.name == registry.COMPILE}
    if not compiling:
        return [request]
    if _has_many(request):
        return [replace(request, compiles=True)]
    beside = tuple(id_ for id_ in request.rules if id_ in compiling.union(IMPORTS_IT_TOO))
    rest = tuple(id_ for id_ in request.rules if id_ not in beside)
    return [
        replace(request, rules=rest),
        replace(request, verb="check", rules=beside, compiles=True),
    ]


def _has_many(request: Request) -> bool:
    """Whether there are more classes than processors, as far as the files' text tells."""
    count = 0
    for target in request.targets:
        with suppress(OSError):
            text = Path(target.path).read_text(encoding="utf-8", errors="replace") if target.path else ""
            count += 1 if target.name else len(CLASS.findall(text))
        if count > MANY * request.settings.jobs:
            return True
    return False


def _events(requests: list[Request]) -> Iterator[tuple[int, Any]]:
    """What the processes send, as it comes, with the number of the process."""
    with ExitStack() as stack:
        servers = [stack.enter_context(_server(request)) for request in requests]
        lanes = {connection: lane for lane, (connection, _) in enumerate(servers)}
        while lanes:
            for connection in wait([*lanes]):
                assert isinstance(connection, Connection)
                lane = lanes[connection]
                try:
                    event = connection.recv()
                except (EOFError, OSError):
                    raise LayersmithError(f"the examining process died: {_end(servers[lane][1])}") from None
                if isinstance(event, UsageError):
                    raise event
                if isinstance(event, Ended):
                    del lanes[connection]
                else:
                    yield lane, event


@contextmanager
def _server(request: Request) -> Iterator[tuple[Connection, IO[bytes]]]:
    """One process that serves the request, in a session of its own, so that Ctrl-C reaches only us."""
    ours, theirs = Pipe()
    settings = request.settings
    variables = environment(
        Path(request.scratch), unconfined=settings.unconfined, hide_cuda=settings.hide_cuda
    )
    with tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and program
            [sys.executable, "-P", "-c", SERVE, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            env=os.environ | ONE_THREAD | variables,
            **_inheriting(theirs),
        )
        theirs.close()
        try:
            ours.send(request)
            yield ours, stderr
        finally:
            ours.close()
            tree.end(process.pid)
            process.wait()


def _inheriting(connection: Connection) -> dict[str, Any]:
    """The arguments of Popen that hand this connection on, under the same number."""
    if sys.platform != "win32":
        return {"pass_fds": (connection.fileno(),), "start_new_session": True}
    handle = connection.fileno()
    os.set_handle_inheritable(handle, True)  # noqa: FBT003 - its only form
    startup = subprocess.STARTUPINFO(lpAttributeList={"handle_list": [handle]})
    return {"startupinfo": startup, "creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}


def _end(stderr: IO[bytes]) -> str:
    stderr.seek(0)
    lines = stderr.read().decode(errors="replace").strip().splitlines()
    return " / ".join(lines[-3:]) or "without a word"
