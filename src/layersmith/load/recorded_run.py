"""A Python program run with the recorder on; what it recorded goes to a file, also when the program fails.

python -c "from layersmith.load.recorded_run import main; main()" OUT LOCK -- train.py --epochs 1
"""

from __future__ import annotations

import dataclasses
import json
import runpy
import sys
from pathlib import Path

from layersmith.load.lock import Entry, Lock


def main() -> None:
    """Run the program that the command line names after `--`: a file, or `-m` and a module."""
    from layersmith.load.record import entries, record  # noqa: PLC0415 - needs torch

    out, lock, _, *program = sys.argv[1:]
    with record() as seen:
        try:
            _run(program)
        finally:
            found = located(entries(seen), Lock(Path(lock)))
            plain = {key: dataclasses.asdict(entry) for key, entry in found.items()}
            Path(out).write_text(json.dumps(plain), encoding="utf-8")


def located(recorded: dict[str, list[str]], lock: Lock) -> dict[str, Entry]:
    """The recorded calls by the lock file's keys.

    Args:
        recorded: the calls of each class, by its module and qualified name: `pkg.attn.Block`.
        lock: says where classes lie.
    """
    from layersmith.load import fingerprint  # noqa: PLC0415 - needs torch
    from layersmith.probe import source  # noqa: PLC0415 - as above

    found = {}
    for path, calls in recorded.items():
        if (cls := _class(path)) is not None:
            key = lock.key(source.file_of(cls), cls.__module__, cls.__qualname__)
            found[key] = Entry(tuple(calls), "recorded", fingerprint.signature(cls))
    return found


def _class(path: str) -> type | None:
    """The class of a dotted path, in a module that is imported; None for one defined inside a function."""
    parts = path.split(".")
    for depth in range(len(parts) - 1, 0, -1):
        thing: object = sys.modules.get(".".join(parts[:depth]))
        for part in parts[depth:] if thing is not None else ():
            thing = getattr(thing, part, None)
        if isinstance(thing, type):
            return thing
    return None


def _run(program: list[str]) -> None:
    if program[0] == "-m":
        sys.argv = program[1:]
        runpy.run_module(program[1], run_name="__main__", alter_sys=True)
        return
    sys.argv = program
    sys.path[0] = str(Path(program[0]).resolve().parent)
    runpy.run_path(program[0], run_name="__main__")
