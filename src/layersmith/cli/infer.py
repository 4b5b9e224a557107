"""`layersmith infer`: find out how every class is built and called, and keep that in layersmith.lock."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from layersmith.cli import examination
from layersmith.finding import Status
from layersmith.load import lock as locks
from layersmith.load.lock import Lock
from layersmith.report import Report

HELP = "find out how every class is built and called, and keep it in layersmith.lock"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Targets, and how to run them."""
    examination.add_targets(parser)
    examination.add_running(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the lock file and say what is new in it."""
    path = locks.place(examination.folder_of(arguments.targets[0]))
    old = locks.read(path) if path.exists() else Lock(path)
    settings = examination.settings_for(arguments)
    report = examination.examined("infer", arguments, (), settings)
    new = updated(old, report)
    if dict(new.entries) != dict(old.entries) or not path.exists():
        locks.write(new)
    sys.stdout.write(_said(old, new, report))
    return examination.INTERRUPTED if report.interrupted else 0


def updated(old: Lock, report: Report) -> Lock:
    """The lock with what the report found; a class that is gone from a file that was looked at is dropped."""
    found = {subject.key: subject.entry for subject in report.subjects if subject.entry is not None}
    seen = {subject.key for subject in report.subjects}
    files = {key.partition("::")[0] for key in seen if "::" in key} if not report.interrupted else set()
    kept = {
        key: entry for key, entry in old.entries.items() if key in seen or key.partition("::")[0] not in files
    }
    return replace(old, entries={**kept, **found})


def _said(old: Lock, new: Lock, report: Report) -> str:
    """What changed, and which classes have no way yet."""
    lines = []
    for key in sorted(set(old.entries) | set(new.entries)):
        before, after = old.entries.get(key), new.entries.get(key)
        if after is None:
            lines.append(f"- {key}")
        elif before != after:
            mark = "+" if before is None else "~"
            lines += [f"{mark} {key}: {call}" for call in after.calls] or [f"? {key}: {after.unknown}"]
    known = sum(bool(entry.calls) for entry in new.entries.values())
    for subject in report.subjects:
        if subject.status in {Status.CRASHED, Status.TIMEOUT, Status.STALE}:
            lines.append(f"! {subject.name}: {subject.status}: {subject.why}")
    path = new.path.relative_to(Path.cwd()) if new.path.is_relative_to(Path.cwd()) else new.path
    missing = len(new.entries) - known
    tail = f", {missing} of unknown call (the file says what would help)" if missing else ""
    return "\n".join([*lines, f"{path}: {known} classes with a call{tail}"]) + "\n"
