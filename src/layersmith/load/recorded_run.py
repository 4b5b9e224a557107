"""A Python program run with the recorder on; what it recorded goes to a file, also when the program fails.

python -c "from layersmith.load.recorded_run import main; main()" OUT LOCK -- train.py --epochs 1
"""

from __future__ import annotations

import dataclasses
import json
import runpy
import sys
from collections.abc import Mapping
from pathlib import Path

from layersmith.load.lock import Entry, Lock


def main() -> None:
    """Run the program that the command line names after `--`: a file, or `-m` and a module."""
    from layersmith.load.record import classes, entries, record  # noqa: PLC0415 - needs torch

    out, lock, _, *program = sys.argv[1:]
    with record() as seen:
        try:
            _run(program)
        finally:
            found = located(entries(seen), classes(seen), Lock(Path(lock)))
            plain = {key: dataclasses.asdict(entry) for key, entry in found.items()}
            Path(out).write_text(json.dumps(plain), encoding="utf-8")


def located(recorded: Mapping[str, list[str]], classes: Mapping[str, type], lock: Lock) -> dict[str, Entry]:
    """The recorded calls by the lock file's keys.

    Args:
        recorded: the calls of each class, by its module and qualified name: `pkg.attn.Block`.
        classes: the classes by the same.
        lock: says where classes lie.
    """
    from layersmith.load import fingerprint  # noqa: PLC0415 - needs torch
    from layersmith.probe import source  # noqa: PLC0415 - as above

    found = {}
    for path, calls in recorded.items():
        cls = classes[path]
        if "<locals>" not in cls.__qualname__:  # out of reach for `check`
            key = lock.key(source.file_of(cls), cls.__module__, cls.__qualname__)
            found[key] = Entry(tuple(calls), "recorded", fingerprint.signature(cls))
    return found


def _run(program: list[str]) -> None:
    if program[0] == "-m":
        sys.argv = program[1:]
        runpy.run_module(program[1], run_name="__main__", alter_sys=True)
        return
    sys.argv = program
    sys.path[0] = str(Path(program[0]).resolve().parent)
    runpy.run_path(program[0], run_name="__main__")
