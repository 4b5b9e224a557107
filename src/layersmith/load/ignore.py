"""Which files a search leaves out: what `.gitignore` files say, and patterns written the same way."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Pattern:
    """One line of a .gitignore."""

    folder: Path  # that it is relative to
    expression: re.Pattern[str]
    is_for_folders: bool
    is_exception: bool  # begins with `!`: what matches is not left out after all

    @classmethod
    def of(cls, line: str, folder: Path) -> Pattern | None:
        """The pattern of a line; None for an empty one or a comment."""
        text = line.rstrip("\n").rstrip()
        if not text or text.startswith("#"):
            return None
        is_exception = text.startswith("!")
        text = text.removeprefix("!").removeprefix("\\")
        body = text.strip("/")
        is_anchored = "/" in text.rstrip("/")
        start = "" if is_anchored else "(?:.*/)?"
        return cls(folder, re.compile(start + _expression(body)), text.endswith("/"), is_exception)

    def matches(self, path: Path, *, is_folder: bool) -> bool:
        """Whether it speaks of this very path (not of a folder above)."""
        if (self.is_for_folders and not is_folder) or not path.is_relative_to(self.folder):
            return False
        return self.expression.fullmatch(path.relative_to(self.folder).as_posix()) is not None


def patterns(lines: Iterable[str], folder: Path) -> list[Pattern]:
    """The patterns of some lines."""
    return [found for line in lines if (found := Pattern.of(line, folder)) is not None]


def is_ignored(path: Path, *, is_folder: bool) -> bool:
    """Whether the .gitignore files of its repository leave a path out; the last pattern that matches decides.

    Folders above the path are not looked at: a search does not come to what lies in a folder left out.
    """
    return decides(
        [pattern for folder in _within_repository(path.parent) for pattern in _file_of(folder)],
        path,
        is_folder=is_folder,
    )


def decides(given: Iterable[Pattern], path: Path, *, is_folder: bool) -> bool:
    """Whether these patterns leave the path out."""
    ignored = False
    for pattern in given:
        if pattern.matches(path, is_folder=is_folder):
            ignored = not pattern.is_exception
    return ignored


@functools.lru_cache(maxsize=1024)
def _within_repository(folder: Path) -> tuple[Path, ...]:
    """The folders from the root of the repository down to this one; none outside a repository."""
    found = [folder]
    while not (found[-1] / ".git").exists():
        if found[-1].parent == found[-1]:
            return ()
        found.append(found[-1].parent)
    return tuple(reversed(found))


@functools.lru_cache(maxsize=1024)
def _file_of(folder: Path) -> tuple[Pattern, ...]:
    try:
        text = (folder / ".gitignore").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    return tuple(patterns(text.splitlines(), folder))


def _expression(body: str) -> str:
    """The regular expression of a pattern without its slashes at both ends."""
    parts = re.split(r"(\*\*/|/\*\*$|\*\*|\*|\?|\[[^\]]+\])", body)
    special = {"**/": "(?:.*/)?", "/**": "/.*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(special.get(part) or _literal(part) for part in parts)


def _literal(part: str) -> str:
    if part.startswith("[") and part.endswith("]"):
        return "[^" + part[2:] if part.startswith("[!") else part
    return re.escape(part)
