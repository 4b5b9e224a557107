"""`layersmith.lock`: how each class was built and called, kept for the next run and for review. Imports no torch."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from layersmith.errors import UsageError

NAME = "layersmith.lock"
VERSION = 1
HEAD = f"""\
# How Layersmith builds and calls each class: written by `layersmith infer` and `layersmith record`, replayed by
# `layersmith check`. Commit it. Edit it freely: a call that no longer works, or a signature that has changed, is
# looked for anew.
version = {VERSION}
"""
_ROOTS = ("pyproject.toml", ".git", "setup.py", "setup.cfg")


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one class: calls, or else why there are none."""

    calls: tuple[str, ...] = ()  # notations: `Block(64, heads=4)(f32[2,16,64])`
    how: str = ""  # where they come from: "names", "example()", "recorded"
    signature: str = ""  # of the constructor and of forward: when it changes, the class is looked at anew
    doubt: str = ""  # why the call is but a guess
    unknown: str = ""  # why no way was found
    hint: str = ""  # what would help then
    source: str = ""  # digest of the class's source, for classes without a way: an edit may have mended it


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock file: its entries by class, as `path/from/here.py::Class` or `package.module:Class`."""

    path: Path
    entries: Mapping[str, Entry] = field(default_factory=dict)

    def key(self, file: str, module: str, name: str) -> str:
        """The key of a class: by its file, where that lies beside or below the lock file."""
        folder, file = self.path.parent.resolve(), file.partition(", cell ")[0]
        if file and Path(file).resolve().is_relative_to(folder):
            return f"{Path(file).resolve().relative_to(folder).as_posix()}::{name}"
        return f"{module}:{name}"


def find(start: Path) -> Lock | None:
    """The nearest lock file from a folder upwards.

    Raises:
        UsageError: if it cannot be read.
    """
    for folder in (start.resolve(), *start.resolve().parents):
        if (folder / NAME).is_file():
            return read(folder / NAME)
    return None


def place(start: Path) -> Path:
    """Where the lock file is, or belongs: at the root of the project, or else in the folder itself."""
    if (found := find(start)) is not None:
        return found.path
    above = (start.resolve(), *start.resolve().parents)
    root = next((f for f in above if any((f / name).exists() for name in _ROOTS)), above[0])
    return root / NAME


def read(path: Path) -> Lock:
    """A lock file.

    Raises:
        UsageError: if it is no TOML, of another version, or an entry is none.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from error
    version = table.pop("version", None)
    if version != VERSION:
        raise UsageError(f"{path} has version {version}, this Layersmith reads {VERSION}: write it anew")
    return Lock(path, {key: _entry(value, f"{path}: {key}") for key, value in table.items()})


def write(lock: Lock) -> None:
    """Write it, sorted; nothing else goes in, so that the same entries are the same file."""
    blocks = [_block(key, lock.entries[key]) for key in sorted(lock.entries)]
    lock.path.write_text("\n".join([HEAD, *blocks]), encoding="utf-8")


def _entry(value: Any, where: str) -> Entry:
    if not isinstance(value, dict):
        raise UsageError(f"{where} must be a table with calls, not {value!r}")
    calls = value.get("calls", [])
    texts = [value.get(name, "") for name in ("from", "signature", "doubt", "unknown", "hint", "source")]
    if not isinstance(calls, list) or not all(isinstance(text, str) for text in [*calls, *texts]):
        raise UsageError(f"{where}: calls must be a list of texts, everything else a text")
    return Entry(tuple(calls), *texts)


def _block(key: str, entry: Entry) -> str:
    lines = [f"[{_quoted(key)}]"]
    if len(entry.calls) > 1:
        lines += ["calls = [", *(f"    {_quoted(call)}," for call in entry.calls), "]"]
    elif entry.calls:
        lines.append(f"calls = [{_quoted(entry.calls[0])}]")
    for name, text in (
        ("from", entry.how),
        ("signature", entry.signature),
        ("doubt", entry.doubt),
        ("unknown", entry.unknown),
        ("hint", entry.hint),
        ("source", entry.source),
    ):
        if text:
            lines.append(f"{name} = {_quoted(text)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A basic string of TOML; JSON's escapes are among its own, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
