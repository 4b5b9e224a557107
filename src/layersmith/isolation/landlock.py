"""Linux' Landlock: a process gives up rights for itself and for all that it starts; no privilege is needed.

Numbers are those of linux/landlock.h and of the system calls that all architectures share.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1  # flag: say which version the kernel has
_PATH_BENEATH = 1  # kind of a rule
_NO_NEW_PRIVILEGES = 38  # for prctl
_WRITE_FILE = 1 << 1
_CHANGES = _WRITE_FILE | sum(1 << bit for bit in range(4, 13))  # and remove, make: of any kind
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_REFERS_SINCE, _TRUNCATES_SINCE, _SCOPES_SINCE = 2, 3, 6
_SCOPE_SIGNALS = 1 << 1


def version() -> int:
    """Which version of Landlock the kernel has; 0 for none."""
    if sys.platform != "linux":
        return 0
    return max(0, _call(_CREATE_RULESET, None, 0, _VERSION))


def forbid_writes(*, beneath: Iterable[Path], devices: Iterable[Path] = ()) -> bool:
    """Allow this process and its children no change to any file but beneath some folders; whether that worked.

    Args:
        beneath: folders in which anything may be written, made and removed.
        devices: files that may be written.
    """
    if not (has := version()):
        return False
    rights = _CHANGES | _REFER * (has >= _REFERS_SINCE) | _TRUNCATE * (has >= _TRUNCATES_SINCE)
    ruleset = _call(_CREATE_RULESET, struct.pack("Q", rights), 8, 0)
    if ruleset < 0:
        return False
    try:
        for path in beneath:
            _allow(ruleset, path, rights)
        for path in devices:
            _allow(ruleset, path, _WRITE_FILE)
        return _restrict(ruleset)
    finally:
        os.close(ruleset)


def forbid_signals() -> bool:
    """Let this process and its children send signals to themselves only; whether the kernel can do that."""
    if version() < _SCOPES_SINCE:
        return False
    ruleset = _call(_CREATE_RULESET, struct.pack("QQQ", 0, 0, _SCOPE_SIGNALS), 24, 0)
    if ruleset < 0:
        return False
    try:
        return _restrict(ruleset)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH)
    except OSError:
        return  # not on this machine
    try:
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, place), 0)
    finally:
        os.close(place)


def _restrict(ruleset: int) -> bool:
    ctypes.CDLL(None).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    return _call(_RESTRICT_SELF, ruleset, 0) == 0


def _call(*arguments: object) -> int:
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    return int(syscall(*(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)))
