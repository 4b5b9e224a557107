"""How the user's files are run when they are imported: as Python does it, or without the work that they would do."""

from __future__ import annotations

import ast
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import FrameType, ModuleType

from layersmith.load import definitions, project
from layersmith.load.definitions import DEFINITIONS, FUNCTIONS, IMPORTS, Keep, raised_at, trains
from layersmith.probe import source

_TRAINING, _ENDLESS = "it trains when it is imported", "its import does not end"
_is_tolerant = False  # whether a file that cannot be imported is run without its work
_endless: set[str] = set()  # the files whose import was ended


class TookTooLong(BaseException):
    """Raised where an import has come to when its time is over."""

    file = ""


def works(file: str) -> bool:
    """Whether the file trains when it is imported: in a statement of its own, or a function called by one."""
    functions: dict[str, ast.stmt] = {}
    waiting: list[ast.stmt] = []
    for node in source.tree_of(file).body:
        if isinstance(node, FUNCTIONS):
            functions[node.name] = node
        elif not isinstance(node, (*DEFINITIONS, *IMPORTS)) and not _is_for_main(node):
            waiting.append(node)
    while waiting:
        node = waiting.pop()
        if trains(node):
            return True
        called = {getattr(part.func, "id", "") for part in ast.walk(node) if isinstance(part, ast.Call)}
        waiting += [functions.pop(name) for name in called & {*functions}]
    return False


def _is_for_main(node: ast.stmt) -> bool:
    parts = ast.walk(node.test) if isinstance(node, ast.If) else ()
    return any(isinstance(part, ast.Constant) and part.value == "__main__" for part in parts)


def _is_assignment(node: ast.stmt) -> bool:
    """Whether it may set what other files import."""
    return isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign) and not trains(node)


def _sets_up(node: ast.stmt) -> bool:
    """The same, or an option that a parser learns before its settings are read: `parser.add_argument("--width")`."""
    called = node.value.func if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) else None
    return _is_assignment(node) or getattr(called, "attr", "") in {"add_argument", "set_defaults"}


def _is_constant(node: ast.stmt) -> bool:
    return _is_assignment(node) and not any(isinstance(part, ast.Call) for part in ast.walk(node))


class Loader(SourceFileLoader):
    """Runs a file as Python does, or only its definitions if it would train, or if it fails and that is tolerated."""

    is_imported = False  # by another of the user's files, which may want any of its names

    def exec_module(self, module: ModuleType) -> None:
        """Run it in the module; raise what it raises, unless that is tolerated."""
        if works(self.path) or self.path in _endless:
            keep = _sets_up if self.is_imported else _is_constant
            self._define(module, _ENDLESS if self.path in _endless else _TRAINING, keep=keep)
            return
        try:
            super().exec_module(module)
        except TookTooLong as error:
            error.file = error.file or self.path  # the innermost that was being imported
            _endless.add(error.file)
            raise
        except (Exception, SystemExit) as error:
            if not _is_tolerant or isinstance(error, SyntaxError):
                raise
            lines = [
                line for frame, line in traceback.walk_tb(error.__traceback__) if self._is_of_this(frame)
            ]
            self._define(module, raised_at(self.path, max(lines[-1:], default=1), error), keep=_sets_up)

    def _is_of_this(self, frame: FrameType) -> bool:
        return frame.f_code.co_filename == self.path

    def _define(self, module: ModuleType, why: str, keep: Keep) -> None:
        tree = ast.parse(Path(self.path).read_bytes(), self.path)
        definitions.run([(self.path, node) for node in tree.body], module, why, keep=keep)


class _Finder(MetaPathFinder):
    """Finds the user's own files where Python would find them."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        found = PathFinder.find_spec(name, path, target)
        if (
            found is None
            or type(found.loader) is not SourceFileLoader
            or project.is_foreign(found.origin or "")
        ):
            return None
        found.loader = own = Loader(name, found.loader.path)
        own.is_imported = True
        return found


@contextmanager
def found() -> Iterator[None]:
    """Have the user's files that others of them import run in this way, too."""
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise TookTooLong in this code after so much wall clock, where the system has a timer."""

    def end(*_: object) -> None:
        raise TookTooLong(f"took more than {seconds:g} s")

    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def tolerated() -> Iterator[None]:
    """Have files that cannot be imported run without their work."""
    global _is_tolerant  # noqa: PLW0603 - of the process, as `sys.meta_path` is
    before, _is_tolerant = _is_tolerant, True
    try:
        yield
    finally:
        _is_tolerant = before
