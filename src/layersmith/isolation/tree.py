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
    """The living and the not yet collected children of a process; none where there is no /proc."""
    return {child for child, (parent, _) in _processes().items() if parent == pid}


def descendants(pid: int) -> set[int]:
    """All that lives below a process."""
    processes = _processes()
    found, new = set[int](), {pid}
    while new:
        found |= new
        new = {child for child, (parent, _) in processes.items() if parent in new} - found
    return {one for one in found - {pid} if processes[one][1] != "Z"}


def _processes() -> dict[int, tuple[int, str]]:
    """The parent and the state of every process."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            state, parent, *_ = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
            found[int(folder.name)] = int(parent), state
    return found


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
