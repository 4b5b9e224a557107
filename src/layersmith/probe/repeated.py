"""Variables that hold what another holds already, or that are lost to another, read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

JOINS = {"cat", "concat", "concatenate", "stack", "hstack", "vstack"}
SIZES = {"shape", "size"}


@dataclass(frozen=True, slots=True)
class Repeated:
    """A variable, its line, and what is wrong with it."""

    name: str
    line: int
    said: str


def joined_twice(method: ast.FunctionDef) -> Iterator[Repeated]:
    """Of the variables that are joined in one call: one that was set to the same expression as another."""
    for call, parts in _joins(method):
        names = dict.fromkeys(part.id for part in parts if isinstance(part, ast.Name))
        given = [
            one for name in names if (one := _only(method, name)) is not None and one.lineno < call.lineno
        ]
        for first, second in combinations(sorted(given, key=lambda one: one.lineno), 2):
            if _is_same(first, second) and not _changed_between(method, first, second):
                name, other = ast.unparse(second.targets[0]), ast.unparse(first.targets[0])
                said = (
                    f"{name} is {other} once more: both are {ast.unparse(second.value)}, and they are joined"
                )
                yield Repeated(name, second.lineno, said)


def joined_with_itself(method: ast.FunctionDef) -> Iterator[Repeated]:
    """What is computed twice in one join, of a variable that was unpacked with one that nothing reads."""
    read = [
        part.id for part in ast.walk(method) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load)
    ]
    unpacked = [
        part for part in ast.walk(method) if isinstance(part, ast.Assign) and not _are_sizes(part.value)
    ]
    together = [_names_in(one.targets[0]) for one in unpacked if isinstance(one.targets[0], ast.Tuple)]
    for _, parts in _joins(method):
        called = [part for part in parts if isinstance(part, ast.Call)]
        for first, second in combinations(called, 2):
            if ast.dump(first) != ast.dump(second):
                continue
            for used in sorted(_names_in(second)):
                kin = {name for names in together if used in names for name in names}
                for name in sorted(kin - {*read}):
                    if not name.startswith("_"):
                        text = ast.unparse(second)
                        said = (
                            f"{text} is joined with itself, and {name}, which came with {used}, is never read"
                        )
                        yield Repeated(name, second.lineno, said)


def _joins(method: ast.FunctionDef) -> Iterator[tuple[ast.Call, list[ast.expr]]]:
    """The calls that join tensors, with what they join."""
    for call in ast.walk(method):
        if isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] in JOINS and call.args:
            yield call, getattr(call.args[0], "elts", [])


def _only(method: ast.FunctionDef, name: str) -> ast.Assign | None:
    """The one assignment of a variable; None where there are several, or other ways to set it."""
    stores = [
        part
        for part in ast.walk(method)
        if isinstance(part, ast.Name) and part.id == name and isinstance(part.ctx, ast.Store)
    ]
    found = [
        part
        for part in ast.walk(method)
        if isinstance(part, ast.Assign) and len(part.targets) == 1 and part.targets[0] in stores
    ]
    return found[0] if len(stores) == len(found) == 1 else None


def _is_same(first: ast.Assign, second: ast.Assign) -> bool:
    """Whether both take the same part of something."""
    return isinstance(first.value, ast.Subscript) and ast.dump(first.value) == ast.dump(second.value)


def _changed_between(method: ast.FunctionDef, first: ast.Assign, second: ast.Assign) -> bool:
    """Whether anything that the expression names is set, or may be changed in place, between the two lines."""
    names = _names_in(second.value)
    between = [part for part in ast.walk(method) if first.lineno < getattr(part, "lineno", 0) < second.lineno]
    return any(ast.unparse(end).partition(".")[0].partition("[")[0] in names for end in _changed(between))


def _changed(parts: list[ast.AST]) -> Iterator[ast.AST]:
    """What is set in these lines, or changed by a method whose name ends in an underscore."""
    for part in parts:
        if isinstance(part, ast.Name | ast.Subscript | ast.Attribute) and isinstance(part.ctx, ast.Store):
            yield part
        elif isinstance(part, ast.Attribute) and part.attr.endswith("_"):
            yield part.value


def lost(method: ast.FunctionDef) -> Iterator[Repeated]:
    """A variable unpacked with another and set anew, from that other, before anything has read it."""
    for block in _blocks(method):
        for place, statement in enumerate(block):
            names = _unpacked(statement)
            for name in names:
                again = _next_use(block[place + 1 :], name)
                if again is not None and (others := _names_in(again.value) & (names - {name})):
                    said = (
                        f"{name} is unpacked and, before anything reads it, set to something of "
                        f"{' and '.join(sorted(others))}: what it held is lost"
                    )
                    yield Repeated(name, again.lineno, said)


def _blocks(method: ast.FunctionDef) -> Iterator[list[ast.stmt]]:
    for part in ast.walk(method):
        for field in ("body", "orelse"):
            block = getattr(part, field, None)
            if isinstance(block, list) and block and isinstance(block[0], ast.stmt):
                yield block


def _unpacked(statement: ast.stmt) -> set[str]:
    """The variables that a statement unpacks from parts of a tensor."""
    if not isinstance(statement, ast.Assign) or not isinstance(statement.targets[0], ast.Tuple):
        return set()
    parts = statement.value.elts if isinstance(statement.value, ast.Tuple) else []
    if not parts or not all(isinstance(part, ast.Subscript) for part in parts):
        return set()
    if any(isinstance(p, ast.Attribute) and p.attr in SIZES for part in parts for p in ast.walk(part)):
        return set()
    return {end.id for end in statement.targets[0].elts if isinstance(end, ast.Name)}


def _next_use(block: list[ast.stmt], name: str) -> ast.Assign | None:
    """The plain assignment that sets the variable before anything in the block reads it."""
    for statement in block:
        is_set = (
            isinstance(statement, ast.Assign)
            and len(statement.targets) == 1
            and getattr(statement.targets[0], "id", "") == name
        )
        if is_set and isinstance(statement, ast.Assign):
            return None if name in _names_in(statement.value) else statement
        if name in _names_in(statement):
            return None
    return None


def _are_sizes(node: ast.expr) -> bool:
    """Whether it is `x.shape`, `x.shape[1:]` or `x.size()`."""
    whole = node.value if isinstance(node, ast.Subscript) else node
    asked = whole.func if isinstance(whole, ast.Call) else whole
    return isinstance(asked, ast.Attribute) and asked.attr in SIZES


def _names_in(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
