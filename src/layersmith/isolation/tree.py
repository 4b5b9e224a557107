"""Ends a process with everything that it started, also what left its process group."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

_SET_DEATH_SIGNAL, _SET_SUBREAPER = 1, 36  # for prctl, from linux/prctl.h
_ROUNDS = 100  # of looking for new descendants


def keep_orphans() -> None:
    """Let processes whose parent ends become this one's children, so that `end` finds them (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_SUBREAPER, 1, 0, 0, 0)


def die_with_parent() -> None:
    """End when the parent ends, whatever ends it (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)


def end(pid: int) -> None:
    """Kill a process and all its descendants. It stays to be collected."""
    if sys.platform == "win32":
        with suppress(OSError):
            os.kill(pid, signal.SIGTERM)
        return
    stopped: set[int] = set()
    for _ in range(_ROUNDS):  # what is stopped starts nothing new, so this ends
        if not (new := {pid, *descendants(pid)} - stopped):
            break
        for one in new:
            _signal(one, signal.SIGSTOP)
        stopped |= new
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    for one in stopped:
        _signal(one, signal.SIGKILL)


def end_orphans(*, keep: set[int]) -> None:
    """Kill and collect the children of this process but these: what dead children have left."""
    for pid in children(os.getpid()) - keep:
        end(pid)
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)


def children(pid: int) -> set[int]:
    """The children of a process, also those not yet collected; none where there is no /proc."""
    lists: list[Path] = []
    with suppress(OSError):  # it may end while its folder is read
        lists = [*Path(f"/proc/{pid}/task").glob("*/children")]  # a kernel may be built without
    if lists or not Path(f"/proc/{pid}").exists():
        return {int(child) for listed in lists for child in _text(listed).split()}
    return {child for child, parent in _parents().items() if parent == pid}


def descendants(pid: int) -> set[int]:
    """All that is below a process."""
    found, new = set[int](), {pid}
    while new:
        found |= new
        new = {child for one in new for child in children(one)} - found
    return found - {pid}


def _parents() -> dict[int, int]:
    """The parent of every process."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(ValueError, IndexError):
            found[int(folder.name)] = int(_text(folder / "stat").rpartition(")")[2].split()[1])
    return found


def _text(path: Path) -> str:
    """What a file of /proc says; nothing once its process is gone."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
