"""Has targets examined by other processes and collects what they report; imports no torch, runs no user code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import IO, Any

from layersmith import registry
from layersmith.errors import LayersmithError, UsageError
from layersmith.isolation import Ended
from layersmith.report import SubjectReport, merged
from layersmith.server import Failed, Found, Reported, Request

SERVE = "from layersmith.server import main; main()"  # -m would name its events after __main__
COMPILE = "compile"  # the group of rules that runs beside the others: importing the compiler takes seconds
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is: for a progress bar."""

    done: int  # classes that every process has reported
    total: int  # classes known so far
    name: str  # of the class at hand


@dataclass(frozen=True, slots=True)
class Examined:
    """Everything that came in."""

    subjects: tuple[SubjectReport, ...]
    failed: tuple[Failed, ...]  # targets that could not be imported
    interrupted: bool


def examine(request: Request, *, on_progress: Callable[[Progress], None] = lambda _: None) -> Examined:
    """Serve the request in processes of its own; Ctrl-C ends them and keeps what has come in.

    Raises:
        UsageError: if the request cannot be served, such as inputs that cannot be read.
        LayersmithError: if one of those processes died, which no class under check can cause.
    """
    lanes = _lanes(request)
    found: list[Found] = []
    failed: list[Failed] = []
    reports: list[dict[tuple[Any, int], SubjectReport]] = [{} for _ in lanes]
    interrupted = False
    try:
        for lane, event in _events(lanes):
            if isinstance(event, Reported):
                reports[lane][event.target, event.index] = event.report
            elif isinstance(event, Found) and lane == 0:
                found.append(event)
            elif isinstance(event, Failed) and lane == 0:
                failed.append(event)
            on_progress(_progress(found, reports))
    except KeyboardInterrupt:
        interrupted = True
    first, *others = reports
    subjects = (merged([report, *(o[key] for o in others if key in o)]) for key, report in first.items())
    return Examined(tuple(subjects), tuple(failed), interrupted)


def _lanes(request: Request) -> list[Request]:
    """The request, less the rules that compile; and those, for a process beside it."""
    files = registry.rule_files()
    beside = tuple(id_ for id_ in request.rules if files[id_].parent.name == COMPILE)
    if not beside:
        return [request]
    rest = tuple(id_ for id_ in request.rules if id_ not in beside)
    return [
        replace(request, rules=rest),
        replace(request, verb="check", rules=beside, warm=("torch._dynamo",)),
    ]


def _progress(found: list[Found], reports: list[dict[tuple[Any, int], SubjectReport]]) -> Progress:
    done, total = min(map(len, reports)), sum(len(one.names) for one in found)
    names = [name for one in found for name in one.names]
    return Progress(done, total, names[done] if done < total else "")


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
                except EOFError:
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
    with tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and program
            [sys.executable, "-P", "-c", SERVE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=os.environ | ONE_THREAD,
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        connection = Connection(os.dup(process.stdout.fileno()), writable=False)
        try:
            with (
                Connection(os.dup(process.stdin.fileno()), readable=False) as requests,
                suppress(BrokenPipeError),
            ):
                requests.send(request)
            yield connection, stderr
        finally:
            connection.close()
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def _end(stderr: IO[bytes]) -> str:
    stderr.seek(0)
    lines = stderr.read().decode(errors="replace").strip().splitlines()
    return " / ".join(lines[-3:]) or "without a word"
