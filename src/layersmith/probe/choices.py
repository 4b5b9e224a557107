"""Values that a constructor accepts by name, and that its code never tells apart."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass

from layersmith.probe import options, source

SHOWS = frozenset({"extra_repr", "__repr__", "__str__"})
TWO = 2


@dataclass(frozen=True, slots=True)
class Alike:
    """An argument, those of its values that no comparison names, and the line that lists them."""

    name: str
    values: tuple[str, ...]
    line: int


@functools.lru_cache(maxsize=512)
def alike(cls: type) -> tuple[Alike, ...]:
    """The arguments of which two accepted values or more lead the same way.

    Asked of arguments that a check limits to some strings, and that are otherwise only compared with strings: what is
    looked up or passed on may count anywhere.
    """
    node = source.function_node(vars(cls).get("__init__"))
    if node is None or "NotImplementedError" in source.text_of(cls):
        return ()
    methods = [one for one in options.methods(cls) if one.name not in SHOWS]
    kept = options.kept_as(cls)
    found = []
    for argument in [*node.args.args, *node.args.kwonlyargs][1:]:
        names = {argument.arg, *(f"self.{end}" for end, name in kept.items() if name == argument.arg)}
        checks = [one for one in _checks(node) if _spelled(one.left) in names]
        if len(checks) == 1 and not _is_read_outside(cls, names):
            named = _named(methods, names, checks[0])
            unnamed = [value for value in _strings(checks[0]) if named is not None and value not in named]
            if len(unnamed) >= TWO:
                found.append(Alike(argument.arg, tuple(unnamed), checks[0].lineno))
    return tuple(found)


def _checks(node: source.Function) -> Iterator[ast.Compare]:
    """What a constructor refuses: `if mode not in ("a", "b"): raise`, `assert mode in ("a", "b")`."""
    for part in ast.walk(node):
        test = part.test if isinstance(part, ast.Assert) else None
        if isinstance(part, ast.If) and isinstance(part.body[-1], ast.Raise):
            test = part.test
        kind = ast.In if isinstance(part, ast.Assert) else ast.NotIn
        if isinstance(test, ast.Compare) and isinstance(test.ops[0], kind) and _strings(test):
            yield test


def _named(methods: list[source.Function], names: set[str], check: ast.Compare) -> set[str] | None:
    """The strings that the argument is compared with elsewhere; None where it is used in another way."""
    found: set[str] = set()
    known = {id(part) for part in ast.walk(check)}
    for method in methods:
        for part in ast.walk(method):
            if isinstance(part, ast.Compare) and part is not check and _spelled(part.left) in names:
                if not _strings(part):
                    return None
                found.update(_strings(part))
                known.add(id(part.left))
            elif isinstance(part, ast.Raise | ast.Assert):
                known.update(map(id, ast.walk(part)))
            elif isinstance(part, ast.Assign) and _spelled(part.value) in names:
                known.add(id(part.value))
    reads = (
        part
        for method in methods
        for part in ast.walk(method)
        if _spelled(part) in names and not isinstance(getattr(part, "ctx", None), ast.Store)
    )
    return None if any(id(part) not in known for part in reads) else found


def _strings(node: ast.Compare) -> list[str]:
    """The strings compared with; none where something else is among them."""
    right = node.comparators[0]
    parts = right.elts if isinstance(right, ast.Tuple | ast.List | ast.Set) else [right]
    values = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    return values if len(values) == len(parts) and len(node.ops) == 1 else []


def _spelled(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    is_own = isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "self"
    return f"self.{node.attr}" if is_own and isinstance(node, ast.Attribute) else ""


def _is_read_outside(cls: type, names: set[str]) -> bool:
    """Whether code outside the class asks an object for the attribute, or a subclass in the file may do so."""
    attributes = {name[5:] for name in names if name.startswith("self.")}
    file = [*ast.walk(source.tree_of(source.file_of(cls)))]
    has_heirs = any(
        isinstance(part, ast.ClassDef) and cls.__name__ in map(ast.unparse, part.bases) for part in file
    )
    return has_heirs or any(
        isinstance(part, ast.Attribute)
        and part.attr in attributes
        and getattr(part.value, "id", "") != "self"
        for part in file
    )
