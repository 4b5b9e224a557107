"""Literal arguments with which a file or project builds a class, also below `if __name__ == "__main__"`."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from layersmith.load import project
from layersmith.load.constructor.syntax import resolved
from layersmith.probe import source

_LARGE = 1024
_USERS = 8  # how many files that name a class are read


def whole(cls: type) -> list[dict[str, Any]]:
    """Every call of the class in its file whose arguments are all literal, as arguments by name."""
    found = []
    for call in _calls(cls):
        bound = _bound(cls, call)
        if bound and all(is_literal for is_literal, _ in bound.values()):
            found.append({name: value for name, (_, value) in bound.items()})
    unique = [one for index, one in enumerate(found) if one not in found[:index]]
    return [one for one in unique if all(_is_small(value) for value in one.values())]


def literals(cls: type) -> dict[str, list[Any]]:
    """For each parameter the literals that calls of the class in its file give to it."""
    found: dict[str, list[Any]] = {}
    for call in _calls(cls):
        for name, (is_literal, value) in _bound(cls, call).items():
            known = found.setdefault(name, [])
            if is_literal and _is_small(value) and value not in known:
                known.append(value)
    return found


def relations(cls: type, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Values that calls in the file compute from other arguments: `padding=(kernel_size - 1) * dilation`.

    Args:
        cls: the class.
        chosen: the arguments so far.
    """
    for call in _calls(cls):
        given = _expressions(cls, call)
        worth = {node.id: chosen.get(name) for name, node in given.items() if isinstance(node, ast.Name)}
        found: dict[str, Any] = {}
        for name, node in given.items():
            used = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
            is_said = (
                isinstance(node, ast.BinOp) and used and all(type(worth.get(one)) is int for one in used)
            )
            if is_said and type(chosen.get(name)) is int:
                found[name] = _computed(node, {one: worth[one] for one in used})
        found = {name: value for name, value in found.items() if type(value) is int and value > 0}
        if found:
            return found
    return {}


def _computed(node: ast.expr, values: Mapping[str, Any]) -> Any:
    try:
        expression = compile(ast.Expression(node), "<call>", "eval")
        return eval(expression, {"__builtins__": {}}, dict(values))  # noqa: S307 - arithmetic on whole numbers
    except Exception:  # noqa: BLE001 - a division by zero, a function: no advice from it
        return None


@functools.lru_cache(maxsize=256)
def _calls(cls: type) -> tuple[ast.Call, ...]:
    """The calls of the class in its own file; where there are none, in files of its project that import it."""
    file = source.file_of(cls)
    own = tuple(_calls_in(source.tree_of(file), cls.__name__))
    folder = project.folder_of(Path(file).resolve()) if file and not own else None
    if folder is None:
        return own
    named = re.compile(rf"\b{cls.__name__}\(")
    likely = (path for path in project.files_of(folder, (".py",)) if named.search(project.text_of(path)))
    trees = (source.tree_of(str(path)) for path in list(likely)[:_USERS])
    return tuple(call for tree in trees if _imports(tree, cls) for call in _calls_in(tree, cls.__name__))


def _calls_in(tree: ast.Module, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(node, ast.Call) and name == getattr(called, "id", getattr(called, "attr", "")):
            yield node


def _imports(tree: ast.Module, cls: type) -> bool:
    """Whether a file may mean this class by its name: it imports it, or its module, and has none of its own."""
    parts = set(cls.__module__.split(".")) | {Path(source.file_of(cls)).stem}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == cls.__name__:
            return False
        if isinstance(node, ast.ImportFrom) and parts & set((node.module or "").split(".")):
            return True
        if isinstance(node, ast.ImportFrom | ast.Import) and any(
            parts & set(alias.name.split(".")) for alias in node.names
        ):
            return True
    return False


def _bound(cls: type, call: ast.Call) -> dict[str, tuple[bool, Any]]:
    """The arguments by parameter name, each with whether it is a literal; nothing for a call with stars."""
    scope = vars(sys.modules.get(cls.__module__, object))
    return {name: _literal(node, scope) for name, node in _expressions(cls, call).items()}


def _expressions(cls: type, call: ast.Call) -> dict[str, ast.expr]:
    starred = any(isinstance(a, ast.Starred) for a in call.args) or any(w.arg is None for w in call.keywords)
    if starred:
        return {}
    try:
        signature = inspect.signature(cls)
        arguments = signature.bind(*call.args, **{w.arg or "": w.value for w in call.keywords}).arguments
    except (TypeError, ValueError):
        return {}
    return {name: node for name, node in arguments.items() if isinstance(node, ast.expr)}


def _literal(node: ast.expr, scope: Mapping[str, Any]) -> tuple[bool, Any]:
    """A literal's value, or the class or function that a name of the file means."""
    try:
        return True, ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        known = resolved(node, scope)
        return inspect.isclass(known) or inspect.isroutine(known), known


def _is_small(value: Any) -> bool:
    return not isinstance(value, int) or isinstance(value, bool) or abs(value) <= _LARGE
