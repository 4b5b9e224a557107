"""A child process with limits: what it sends is passed on; whatever it does, this process goes on."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from typing import IO, Any

from layersmith.finding import Status

Send = Callable[[Any], None]
BYTES_OF_DATA = 12 * 2**30  # private memory of one child; torch alone takes well below 1 GB
BYTES_OF_FILE = 2**28  # the largest file that it may write, its own output included
PR_SET_PDEATHSIG = 1  # from linux/prctl.h


@dataclass(frozen=True, slots=True)
class Ended:
    """The last thing that `supervised` yields: how the child ended, in words if not well."""

    status: Status = Status.CHECKED
    why: str = ""


def supervised(
    work: Callable[[Send], None], *, seconds: float, renew: bool = False, output: IO[bytes] | None = None
) -> Iterator[Any]:
    """Run `work` in a forked child and yield what it sends; the last item is an `Ended`.

    Args:
        work: gets a function that sends a picklable value to the parent.
        seconds: of wall clock for all of the work, after which its process group is killed.
        renew: count the seconds anew after every value received.
        output: where the child's stdout and stderr go; None leaves them alone.
    """
    receiver, sender = Pipe(duplex=False)
    pid = os.fork()
    if pid == 0:
        receiver.close()
        _child(work, sender, output)
    sender.close()
    deadline = time.monotonic() + seconds
    try:
        while True:
            if not receiver.poll(max(0.0, deadline - time.monotonic())):
                yield Ended(Status.TIMEOUT, f"took more than {seconds:g} s")
                return
            try:
                value = receiver.recv()
            except EOFError:
                yield Ended(Status.CRASHED, _death(os.waitpid(pid, 0)[1]))
                pid = 0
                return
            yield value
            if isinstance(value, Ended):
                return
            deadline = time.monotonic() + seconds if renew else deadline
    finally:
        receiver.close()
        _kill(pid)


def _child(work: Callable[[Send], None], sender: Connection, output: IO[bytes] | None) -> None:
    """Everything that the child does; it never returns."""
    try:
        os.setpgid(0, 0)
        _confine()
        if output is not None:
            _redirect(output.fileno())
        try:
            work(sender.send)
            ended = Ended()
        except BaseException as error:  # noqa: BLE001 - sys.exit and the like end this child, not the run
            ended = Ended(Status.CRASHED, _said(error))
        with suppress(Exception):  # the work may have closed them, or put anything in their place
            sys.stdout.flush()  # before the parent hears of the end, and ends what is left
            sys.stderr.flush()
        sender.send(ended)
    finally:
        os._exit(0)  # no atexit handlers, no waiting for threads that the module left


def _redirect(descriptor: int) -> None:
    """Send stdout and stderr there, of Python and of everything below it; nothing can be read."""
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115 - for the life of the child
    sys.stdout, sys.stderr = (
        open(standard, "w", 1, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115 - as above
        for standard in (1, 2)
    )


def _confine() -> None:
    """Die with the parent, dump no core, and neither allocate nor write without end."""
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_DATA, BYTES_OF_DATA),
        (resource.RLIMIT_FSIZE, BYTES_OF_FILE),
    ):
        _, hard = resource.getrlimit(limit)
        resource.setrlimit(limit, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _kill(pid: int) -> None:
    """End a child and what it started; 0 is a child that has ended already."""
    if not pid:
        return
    for kill in (os.killpg, os.kill):
        try:
            kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue
    os.waitpid(pid, 0)


def _said(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    if isinstance(error, SystemExit):
        return f"it called sys.exit({error.code!r}){place}"
    return f"{type(error).__name__}: {' '.join(str(error).split()):.300}{place}"


def _death(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return f"its process was killed by {signal.Signals(number).name}"
    return f"its process ended by itself, with exit code {os.WEXITSTATUS(status)}"
