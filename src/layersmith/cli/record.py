"""`layersmith record -- python train.py`: keep how a real program builds and calls its classes."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from layersmith.errors import UsageError
from layersmith.load import lock as locks
from layersmith.load.lock import Entry, Lock

HELP = "run a program and keep in layersmith.lock how it builds and calls its classes"
RUN = "from layersmith.load.recorded_run import main; main()"
FORM = "layersmith record -- python train.py ..., or -- python -m package.train ..."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The program."""
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help=FORM)


def run(arguments: argparse.Namespace) -> int:
    """Run the program as it would run anyway, then add what it did to the lock file; its exit code is ours."""
    python, program = _parsed(arguments.command)
    path = locks.place(Path.cwd())
    with tempfile.TemporaryDirectory(prefix="layersmith-") as folder:
        out = Path(folder) / "entries.json"
        done = subprocess.run([*python, "-c", RUN, str(out), str(path), "--", *program], check=False)  # noqa: S603 - what the user asks for
        recorded = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    found = {key: Entry(tuple(value.pop("calls")), **value) for key, value in recorded.items()}
    if found:
        old = locks.read(path) if path.exists() else Lock(path)
        locks.write(replace(old, entries={**old.entries, **found}))
    sys.stderr.write(f"layersmith: recorded {len(found)} classes in {path.name}\n")
    return done.returncode


def _parsed(command: list[str]) -> tuple[list[str], list[str]]:
    """The interpreter with its options, and the program that it runs."""
    words = command[1:] if command[:1] == ["--"] else command
    if words and words[0].endswith(".py"):
        words = [sys.executable, *words]
    if not words or not Path(words[0]).name.startswith("python"):
        raise UsageError(f"record runs a Python program: {FORM}, not {' '.join(words) or 'nothing'}")
    start = next((i for i, word in enumerate(words) if i and (word == "-m" or not word.startswith("-"))), 0)
    if not start or (words[start] == "-m" and len(words) == start + 1):
        raise UsageError(f"record runs a file or a module: {FORM}, not {' '.join(words)}")
    return words[:start], words[start:]
