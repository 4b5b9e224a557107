"""Two attributes that a constructor makes alike, of which the source uses one twice and the other never."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from layersmith.probe import dataflow, parameters, source, undefined

RESET = "reset_parameters"


@dataclass(frozen=True, slots=True)
class Forgotten:
    """An attribute that is left out, its twin, and the line where the twin stands in its place."""

    name: str
    twin: str
    file: str
    line: int


def never_called(cls: type) -> Iterator[Forgotten]:
    """Attributes that no method but those which start weights names, while a twin is called twice in one method."""
    for owner in undefined.owners(cls):
        made = _made(owner)
        file = source.file_of(owner)
        for method in source.methods(owner):
            called = [part.func for part in ast.walk(method) if isinstance(part, ast.Call)]
            lines = {end: part.lineno for part in called if (end := _own(part))}
            for twin, times in Counter(filter(None, map(_own, called))).items():
                for name in _twins(made, twin) if times > 1 and method.name not in source.STARTS else ():
                    if not _is_used(cls, owner, name):
                        yield Forgotten(name, twin, file, lines[twin])


def never_reset(cls: type) -> Iterator[Forgotten]:
    """Attributes that `reset_parameters` leaves out, while it does the very same to a twin twice."""
    for owner in undefined.owners(cls):
        made = _made(owner)
        file = source.file_of(owner)
        for method in source.methods(owner):
            if method.name != RESET:
                continue
            first: dict[str, ast.stmt] = {}
            named = {part.attr for part in ast.walk(method) if isinstance(part, ast.Attribute)}
            for statement in method.body:
                if (again := ast.dump(statement)) in first:
                    twins = {end for part in ast.walk(statement) if (end := _own(part))}
                    for name in [one for twin in twins for one in _twins(made, twin) if one not in named]:
                        yield Forgotten(name, min(twins), file, statement.lineno)
                first[again] = statement


def _made(owner: type) -> dict[str, str]:
    """The attributes that a class's own constructor sets once, to a call, with what is called."""
    node = source.function_node(vars(owner).get("__init__"))
    stores = [
        part
        for part in (ast.walk(node) if node is not None else ())
        if isinstance(part, ast.Assign) and len(part.targets) == 1 and _own(part.targets[0])
    ]
    counts = Counter(_own(part.targets[0]) for part in stores)
    return {
        _own(part.targets[0]): ast.unparse(part.value.func)
        for part in stores
        if isinstance(part.value, ast.Call) and counts[_own(part.targets[0])] == 1
    }


def _twins(made: dict[str, str], name: str) -> list[str]:
    return [other for other, callee in made.items() if other != name and callee == made.get(name)]


def _is_used(cls: type, owner: type, name: str) -> bool:
    is_read = source.methods_using(cls, name) or source.is_read_when_built(cls, name)
    reflects = dataflow.REFLECTION.search(source.text_of(owner))
    return bool(is_read or reflects) or parameters.is_read_in_file(cls, name)


def _own(node: ast.AST) -> str:
    """The name of an attribute of `self`; "" of anything else."""
    is_own = isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "self"
    return node.attr if is_own and isinstance(node, ast.Attribute) else ""
