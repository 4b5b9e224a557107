"""A child with limits: what it sends arrives, whatever it does afterwards."""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from layersmith.finding import Status
from layersmith.isolation import Ended, Send, supervised, tree
from layersmith.isolation.limits import BYTES_OF_DATA

ENOUGH = 60.0  # seconds: far more than any of these needs


def ended(work: Callable[[Send], None], *, seconds: float = ENOUGH) -> tuple[list[object], Ended]:
    *values, last = supervised(work, seconds=seconds)
    assert isinstance(last, Ended)
    return values, last


def test_values_arrive_in_order() -> None:
    def work(send: Send) -> None:
        for number in range(3):
            send({"number": number})

    assert ended(work) == ([{"number": 0}, {"number": 1}, {"number": 2}], Ended())


@pytest.mark.parametrize(
    ("last_act", "said"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "killed by SIGSEGV"),
        (os.abort, "killed by SIGABRT"),
        (lambda: os._exit(5), "exit code 5"),
        (lambda: sys.exit(3), "sys.exit(3)"),
        (lambda: 1 / 0, "ZeroDivisionError"),
        (lambda: bytearray(BYTES_OF_DATA + 2**30), "MemoryError"),
    ],
)
def test_a_death_keeps_what_was_sent_and_is_named(last_act: Callable[[], object], said: str) -> None:
    def work(send: Send) -> None:
        faulthandler.disable()  # pytest's own report of a crash would look like one of the tests
        send("before")
        last_act()

    values, end = ended(work)
    assert values == ["before"]
    assert end.status is Status.CRASHED
    assert said in end.why


def test_a_hang_ends_at_the_limit() -> None:
    def work(send: Send) -> None:
        send("before")
        while True:
            time.sleep(1)

    values, end = ended(work, seconds=1.0)
    assert values == ["before"]
    assert (end.status, end.why) == (Status.TIMEOUT, "took more than 1 s")


def test_what_a_child_started_ends_with_it(tmp_path: Path) -> None:
    pid = tmp_path / "pid"

    def work(_: Send) -> None:
        pid.write_text(str(subprocess.Popen(["sleep", "1000"]).pid))
        while True:
            time.sleep(1)

    ended(work, seconds=2.0)
    deadline = time.monotonic() + ENOUGH
    while time.monotonic() < deadline and _lives(int(pid.read_text())):
        time.sleep(0.05)
    assert not _lives(int(pid.read_text()))


def test_output_goes_where_it_is_told() -> None:
    def work(_: Send) -> None:
        print("from python", flush=True)
        os.system("echo from a shell")

    with tempfile.NamedTemporaryFile() as output:
        [*supervised(work, seconds=ENOUGH, output=output)]
        output.seek(0)
        assert output.read().split(b"\n") == [b"from python", b"from a shell", b""]


def test_what_left_the_process_group_ends_too(tmp_path: Path) -> None:
    pid = tmp_path / "pid"

    def work(_: Send) -> None:
        sleeper = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        pid.write_text(str(sleeper.pid))
        while True:
            time.sleep(1)

    ended(work, seconds=2.0)
    deadline = time.monotonic() + ENOUGH
    while time.monotonic() < deadline and _lives(int(pid.read_text())):
        time.sleep(0.05)
    assert not _lives(int(pid.read_text()))


def test_a_child_that_forks_is_heard_once() -> None:
    def work(send: Send) -> None:
        os.fork()
        send("once")

    assert ended(work) == (["once"], Ended())


def test_a_death_is_noticed_though_a_grandchild_keeps_the_connection() -> None:
    def work(_: Send) -> None:
        if os.fork() == 0:
            time.sleep(1000)
        os._exit(4)

    assert "exit code 4" in ended(work)[1].why


def speaks(send: Send) -> None:
    send(os.getpid())


def hangs(send: Send) -> None:
    send("before")
    time.sleep(1000)


def test_without_fork_python_is_started_anew() -> None:
    values, end = [*supervised(speaks, seconds=ENOUGH, fork=False)]
    assert end == Ended()
    assert values != os.getpid()


def test_without_fork_the_time_limit_holds() -> None:
    *values, end = supervised(hangs, seconds=15.0, fork=False)
    assert (values, end.status) == (["before"], Status.TIMEOUT)


def test_a_child_may_close_its_streams() -> None:
    def work(send: Send) -> None:
        sys.stdout.close()
        sys.stderr = None
        send("done")

    assert ended(work) == (["done"], Ended())


def test_a_reader_that_stops_early_leaves_no_child() -> None:
    def work(send: Send) -> None:
        send(os.getpid())
        time.sleep(1000)

    events = supervised(work, seconds=ENOUGH)
    pid = next(events)
    events.close()  # type: ignore[attr-defined]
    assert not _lives(pid)


def _lives(pid: int) -> bool:
    """Whether the process runs; one that only waits to be collected does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_a_process_that_ends_while_it_is_looked_at_has_no_children(monkeypatch: pytest.MonkeyPatch) -> None:
    def vanished(*_: object) -> Iterator[Path]:
        raise FileNotFoundError("/proc/1/task")
        yield

    monkeypatch.setattr(Path, "glob", vanished)
    monkeypatch.setattr(tree, "_parents", dict)
    assert tree.children(os.getpid()) == set()
