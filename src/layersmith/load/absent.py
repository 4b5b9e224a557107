"""What cannot be had here, where only a training loop or some of a file's classes need it.

As a package that is not installed. The file is imported as if it were there: to name it costs nothing, to use it is
the error that the import was, and a class that would use it is not examined.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType, ModuleType
from typing import Any

from layersmith.load import project
from layersmith.probe import source, undefined


class Absent:
    """Something that a package or a file would hold. Annotations may name it; nothing else may be done with it.

    Args:
        why: what to say of a class that uses it.
        error: raised by every use.
    """

    def __init__(self, why: str, error: BaseException) -> None:
        self.why = why
        self.error = error

    def __getattr__(self, name: str) -> Absent:
        """Something else of it; Python's own questions (`__wrapped__`) have no answer."""
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __getitem__(self, _: object) -> Absent:
        """As in `Float[Tensor, "b d"]`."""
        return self

    __or__ = __ror__ = __getitem__  # as in `Run | None`

    def __call__(self, *_: Any, **__: Any) -> Any:
        """Refuse, as every use but an annotation."""
        raise self.error

    __mro_entries__ = __instancecheck__ = __iter__ = __bool__ = __len__ = __call__
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __enter__ = __call__


class _Package(ModuleType):
    """A package, or a part of one, without anything, that has whatever it is asked for."""

    def __init__(self, name: str, needs: str) -> None:
        super().__init__(name)
        error = ModuleNotFoundError(f"No module named {needs!r}", name=needs)
        self.content = Absent(why_without(needs), error)

    def __getattr__(self, name: str) -> Any:
        if name == "__all__":  # what `import *` asks for
            return [undefined.STAR]
        if name.startswith("__"):
            raise AttributeError(name)
        return self.content


def why_without(package: str) -> str:
    """What to say of what needs a package that is not installed."""
    return f"needs {package}, which is not installed"


@contextmanager
def standing_in() -> Iterator[None]:
    """Let the user's files import what is absent where they count on it: outside of a `try`. Nothing of it is kept."""
    import_ = builtins.__import__

    def tolerant(name: str, *args: Any, **kwargs: Any) -> ModuleType:
        try:
            return import_(name, *args, **kwargs)
        except ModuleNotFoundError as error:
            frame = sys._getframe(1)  # noqa: SLF001 - the file's
            if error.name and _is_counted_on(frame.f_code.co_filename, frame.f_lineno):
                return _Package(name, error.name.partition(".")[0])
            raise

    builtins.__import__ = tolerant
    try:
        yield
    finally:
        builtins.__import__ = import_


def _is_counted_on(file: str, line: int) -> bool:
    """Whether an import on a line of a user's file stands in no `try`, and is not relative."""
    parts = [] if project.is_foreign(file) else [*ast.walk(source.tree_of(file))]
    kinds = (ast.Try, ast.Import, ast.ImportFrom)
    around = [one for one in parts if isinstance(one, kinds) and one.lineno <= line <= (one.end_lineno or 0)]
    return bool(around) and not any(isinstance(one, ast.Try) or getattr(one, "level", 0) for one in around)


def needed_by(cls: type) -> str:
    """What is absent and the class, or what it is made of, would use, in words; "" if nothing."""
    seen: set[int] = set()
    waiting: list[Any] = [cls]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, Absent | _Package):
            return thing.why if isinstance(thing, Absent) else thing.content.why
        waiting.extend(_parts(thing))
    return ""


def _parts(thing: Any) -> Iterator[Any]:
    """The bases and methods of a class, what a function reads, calls and takes by default; the user's own."""
    plain = source.unwrapped(thing)
    if isinstance(thing, type) and not project.is_foreign(source.file_of(thing)):
        yield from thing.__bases__
        for member in vars(thing).values():
            yield from (member, *(getattr(member, end, None) for end in ("fget", "fset")))
    elif isinstance(plain, FunctionType) and not project.is_foreign(plain.__code__.co_filename):
        yield from (plain.__defaults__ or ())
        yield from (plain.__kwdefaults__ or {}).values()
        for name, _ in undefined.globals_of(plain.__code__):
            is_known = name in plain.__globals__ or hasattr(builtins, name)
            yield plain.__globals__.get(name if is_known else undefined.STAR)
