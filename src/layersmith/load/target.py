"""What the user points at (a file, a class in it, a folder, a glob, an import path) becomes modules.

Runs in the command line's own process: it imports nothing heavy and none of the user's code.
"""

from __future__ import annotations

import ast
import difflib
import glob
import importlib.machinery
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from layersmith.errors import TargetError
from layersmith.load import ignore
from layersmith.load.ignore import Pattern
from layersmith.load.notebook import cells, is_notebook

_SKIPPED_FOLDERS = {"build", "dist", "__pycache__", "node_modules", "site-packages", "venv", "env"}
_SUFFIXES = (".py", ".ipynb")
_SKIPPED_FILES = {"setup.py", "conftest.py"}


@dataclass(frozen=True, slots=True)
class Target:
    """One thing to import: a file (`path`) or dotted module (`module`), and one class of it or all ("")."""

    path: str = ""
    module: str = ""
    name: str = ""

    def __str__(self) -> str:
        """As the user would write it."""
        if self.path:
            return f"{self.path}::{self.name}" if self.name else self.path
        return f"{self.module}:{self.name}" if self.name else self.module


def parse(text: str, *, exclude: Iterable[str] = ()) -> list[Target]:
    """What a text names: `file.py`, `file.py::Class`, `package.module:Class`, a folder, a glob.

    Args:
        text: as on the command line.
        exclude: patterns, as in .gitignore and relative to the working directory, of what is left out of a folder
            or a glob.

    Raises:
        TargetError: if there is no such file or module, or the file is not Python.
    """
    leave_out = ignore.patterns(exclude, Path.cwd())
    path, _, name = text.partition("::")
    if not path.strip():
        raise TargetError(f"no target in {text!r}: give a file, a folder or an import path")
    if Path(path).is_dir():
        return [Target(str(file), "", name) for file in _files_below(Path(path), leave_out)]
    if Path(path).is_file():
        _require_python(path)
        return [Target(path, "", name)]
    if glob.has_magic(path):
        return [Target(file, "", name) for file in _matching(path, leave_out)]
    if _looks_like_a_file(path):
        raise TargetError(f"no such file: {path}{_nearest(path)}")
    return [_import_path(text)]


def _files_below(folder: Path, leave_out: list[Pattern]) -> list[Path]:
    """Every Python file below that may define a module class; tests, hidden and built things left out."""
    files = list(_walk(folder, leave_out))
    if not files:
        raise TargetError(f"no Python file in {folder}")
    worth = [file for file in files if _has_class(file)]
    if not worth:
        raise TargetError(f"none of the {len(files)} Python files in {folder} defines a class with a base")
    return worth


def _walk(folder: Path, leave_out: list[Pattern]) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        here = Path(parent)
        folders[:] = sorted(
            name
            for name in folders
            if not _is_skipped_folder(here / name) and not _is_out(here / name, leave_out, is_folder=True)
        )
        for name in sorted(names):
            is_source = name.endswith(".py") and name not in _SKIPPED_FILES and not name.startswith("test_")
            if is_source and not _is_out(here / name, leave_out, is_folder=False):
                yield here / name


def _is_out(path: Path, leave_out: list[Pattern], *, is_folder: bool) -> bool:
    """Whether the user's patterns or the repository's .gitignore leave a path out."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - links are not followed, as git does
    return ignore.decides(leave_out, absolute, is_folder=is_folder) or ignore.is_ignored(
        absolute, is_folder=is_folder
    )


def _is_skipped_folder(folder: Path) -> bool:
    name = folder.name
    is_built = name in _SKIPPED_FOLDERS or name.startswith(".") or name.endswith(".egg-info")
    return is_built or (folder / "pyvenv.cfg").exists()


def _has_class(file: Path) -> bool:
    """Whether the file defines a class with a base outside functions; an unreadable file counts as one."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return True  # importing it will say what is wrong
    return any(isinstance(node, ast.ClassDef) and node.bases for node in _outside_functions(tree))


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _outside_functions(child)


def _matching(pattern: str, leave_out: list[Pattern]) -> list[str]:
    found = sorted(file for file in glob.glob(pattern, recursive=True) if file.endswith(_SUFFIXES))  # noqa: PTH207 - absolute too
    files = [file for file in found if not ignore.decides(leave_out, Path.cwd() / file, is_folder=False)]
    if not files:
        raise TargetError(f"no Python file matches {pattern}")
    return files


def _require_python(path: str) -> None:
    if not path.endswith(_SUFFIXES):
        raise TargetError(f"{path} is not a Python file (.py) or a notebook (.ipynb)")
    try:
        if is_notebook(path):
            cells(Path(path))
        else:
            ast.parse(Path(path).read_bytes(), path)
    except SyntaxError as error:
        line = (error.text or "").rstrip()
        raise TargetError(f"{path}:{error.lineno}: syntax error: {error.msg}\n    {line.strip()}") from None
    except (ValueError, OSError) as error:
        raise TargetError(f"{path} cannot be read: {error}") from None


def _looks_like_a_file(path: str) -> bool:
    return "/" in path or os.sep in path or path.endswith((".py", ".ipynb"))


def _nearest(path: str) -> str:
    wanted = Path(path)
    if not wanted.parent.is_dir():
        return f" (there is no folder {wanted.parent})"
    names = [entry.name for entry in wanted.parent.iterdir() if entry.suffix == ".py" or entry.is_dir()]
    close = difflib.get_close_matches(wanted.name, names, n=1)
    return f"; did you mean {wanted.parent / close[0]}?" if close else ""


def _import_path(text: str) -> Target:
    module, _, name = text.partition(":")
    if not all(part.isidentifier() for part in module.split(".")):
        raise TargetError(f"no such file, and not an import path either: {text}")
    missing = _first_missing(module)
    if missing:
        parent = missing.rpartition(".")[0]
        advice = (
            f"; a class of {parent} is written {parent}:{missing.rpartition('.')[2]}"
            if parent
            else _nearest(text)
        )
        raise TargetError(f"no module named {missing} (asked for {text}){advice}")
    return Target("", module, name)


def _first_missing(module: str) -> str:
    """The first part of a dotted name that no finder knows, without importing it; "" if all are there."""
    folders: list[str] | None = [*sys.path, str(Path.cwd())]
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        name = ".".join(parts[:depth])
        if depth == 1 and name in sys.builtin_module_names:
            return "" if len(parts) == 1 else f"{name}.{parts[1]}"
        spec = importlib.machinery.PathFinder.find_spec(name, folders) if folders is not None else None
        if spec is None:
            return name
        folders = (
            list(spec.submodule_search_locations) if spec.submodule_search_locations is not None else None
        )
    return ""
