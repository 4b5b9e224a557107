"""A child process with limits: what it sends is passed on; whatever it does, this process goes on."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import IO, Any

from layersmith.finding import Status
from layersmith.isolation import landlock, limits, tree

CAN_FORK = hasattr(os, "fork")
LOOK = 0.25  # seconds between two looks whether a silent child still lives
LAST_WORDS = 2.0  # seconds for a child to end after its connection is closed


class Send:
    """Sends values to the parent, as a function of one argument."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.pid = os.getpid()

    def __call__(self, value: Any) -> None:
        """Send a picklable value."""
        if os.getpid() != self.pid:  # the work has forked: its copy has nothing to say
            os._exit(0)
        self.connection.send(value)


Work = Callable[[Send], None]


@dataclass(frozen=True, slots=True)
class Ended:
    """The last thing that a child is heard of: how it ended, in words if not well."""

    status: Status = Status.CHECKED
    why: str = ""


@dataclass(slots=True)
class Child:
    """A child as its parent sees it: poll `connection`, then `receive`; `end` it in any case."""

    pid: int
    connection: Connection
    seconds: float
    deadline: float
    process: Any = None  # the handle, where it was spawned

    def receive(self) -> Any:
        """What the child sent; an `Ended` when there is nothing more; None when it has said nothing yet."""
        try:
            if self.connection.poll():
                return self.connection.recv()
        except (EOFError, OSError, pickle.UnpicklingError, AttributeError, ImportError, ValueError):
            return self._death(LAST_WORDS)
        if time.monotonic() > self.deadline:
            return Ended(Status.TIMEOUT, f"took more than {self.seconds:g} s")
        ended = self._death(0.0)  # which the connection need not show: something else may keep it open
        return self.connection.recv() if ended and self.connection.poll() else ended

    def renew(self) -> None:
        """Count the seconds anew."""
        self.deadline = time.monotonic() + self.seconds

    def end(self) -> None:
        """Kill the child, if it lives, and what it started."""
        self.connection.close()
        tree.end(self.pid)
        if self.process is not None:
            self.process.join()
            return
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    def _death(self, patience: float) -> Ended | None:
        """How the process ended; None while it lives, except after so many seconds of patience."""
        end = time.monotonic() + patience
        while (code := self._exit_code()) is None:
            if time.monotonic() >= end:
                return Ended(Status.CRASHED, "it closed its connection") if patience else None
            time.sleep(LOOK / 10)
        if code >= 0:
            return Ended(Status.CRASHED, f"its process ended by itself, with exit code {code}")
        if -code == getattr(signal, "SIGXCPU", 0):
            return Ended(Status.TIMEOUT, f"took more than {self.seconds:g} s of CPU time")
        return Ended(Status.CRASHED, f"its process was killed by {signal.Signals(-code).name}")

    def _exit_code(self) -> int | None:
        """As subprocess has it: negative for a signal; None while it runs."""
        if self.process is not None:
            code: int | None = self.process.exitcode
            return code
        result = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if result is None:
            return None
        return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status


def start(
    work: Work,
    *,
    seconds: float,
    jobs: int = 1,
    output: IO[bytes] | None = None,
    fork: bool = CAN_FORK,
    close: Iterable[Connection] = (),
) -> Child:
    """Start a child that does the work.

    Args:
        work: gets a function that sends a picklable value to the parent; itself picklable where `fork` is false.
        seconds: of wall clock for all of the work, until `Child.renew`.
        jobs: how many children share the machine's memory.
        output: a named file where the child's stdout and stderr go; None leaves them alone.
        fork: copy this process with all that it has imported; otherwise start Python anew.
        close: connections of this process that the child must not be able to write to.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    arguments = (work, sender, seconds, jobs, output.name if output is not None else "")
    deadline = time.monotonic() + seconds
    if not fork:
        process = context.Process(target=_child, args=arguments)
        process.start()
        sender.close()
        assert process.pid is not None
        return Child(process.pid, receiver, seconds, deadline, process)
    pid = os.fork()
    if pid == 0:
        for connection in (receiver, *close):
            connection.close()
        _child(*arguments)
    sender.close()
    return Child(pid, receiver, seconds, deadline)


def supervised(
    work: Work,
    *,
    seconds: float,
    output: IO[bytes] | None = None,
    fork: bool = CAN_FORK,
) -> Iterator[Any]:
    """Do the work in a child and yield what it sends; the last item is an `Ended`."""
    child = start(work, seconds=seconds, output=output, fork=fork)
    try:
        while True:
            child.connection.poll(LOOK)
            value = child.receive()
            if value is not None:
                yield value
            if isinstance(value, Ended):
                return
    finally:
        child.end()


def _child(work: Work, sender: Connection, seconds: float, jobs: int, output: str) -> None:
    """Everything that the child does; it never returns."""
    send = Send(sender)
    try:
        _settle(seconds, jobs)
        if output:
            _redirect(output)
        try:
            work(send)
            ended = Ended()
        except BaseException as error:  # noqa: BLE001 - sys.exit and the like end this child, not the run
            ended = Ended(Status.CRASHED, _said(error))
        with suppress(Exception):  # the work may have closed them, or put anything in their place
            sys.stdout.flush()  # before the parent hears of the end, and ends what is left
            sys.stderr.flush()
        send(ended)
    finally:
        os._exit(0)  # no atexit handlers, no waiting for threads that the module left


def _settle(seconds: float, jobs: int) -> None:
    """Be a process group, die with the parent, keep one's orphans together, stay within limits."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
    tree.die_with_parent()
    tree.keep_orphans()
    limits.apply(seconds, jobs=jobs)
    landlock.forbid_signals()


def _redirect(path: str) -> None:
    """Send stdout and stderr there, of Python and of everything below it; nothing can be read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115 - for the life of the child
    sys.stdout, sys.stderr = (
        open(standard, "w", 1, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115 - as above
        for standard in (1, 2)
    )


def _said(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    if isinstance(error, SystemExit):
        return f"it called sys.exit({error.code!r}){place}"
    return f"{type(error).__name__}: {' '.join(str(error).split()):.300}{place}"
