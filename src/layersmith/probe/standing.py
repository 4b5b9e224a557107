"""Which parameter of a constructor, or field of a config among them, an expression stands for."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from layersmith.probe import source
from layersmith.probe.constants import constants, meant

MOST = 16  # values of one table: what has more is a register of all there is
Texts = list[str | None]


@dataclass(slots=True)
class Place:
    """A function with the names that it has for parameters."""

    node: source.Function
    cls: type | None
    scope: Mapping[str, Any]
    names: dict[str, str]  # variables that hold a parameter or a field of one
    kept: Mapping[str, str]  # attributes of `self` that do
    literals: dict[str, ast.expr] = field(default_factory=dict)  # variables that hold a list or a table

    def name_of(self, node: ast.AST | None) -> str:
        """Of the parameter, or of the field of one, that an expression stands for; "" where it is none."""
        if isinstance(node, ast.Name):
            return self.names.get(node.id, "")
        if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):  # `mode or "mean"`
            return self.name_of(node.values[0])
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "self":
            return self.kept.get(node.attr, "")
        inner, key = field_of(node)
        if key and (held := self.name_of(inner)):
            return f"{held}.{key}"
        inner = bare(node)
        return self.name_of(inner) if inner is not node else ""

    def values_of(self, node: ast.AST) -> Texts:
        """The strings that an expression lists, and None among them; nothing where something else is."""
        values = constants(node, self.scope, self.cls, self.literals) or []
        texts = [one for one in values if isinstance(one, str)]
        return [*texts, *([None] if texts and None in values else [])] if len(values) <= MOST else []

    def table(self, node: ast.AST) -> ast.AST | None:
        """A table as somebody has written it, with its keys; no register that others add to."""
        if isinstance(node, ast.Dict) or isinstance(
            meant(getattr(node, "value", None), self.scope, self.cls), type
        ):
            return node
        if not isinstance(node, ast.Name) or node.id in self.literals:
            return self.literals.get(node.id) if isinstance(node, ast.Name) else None
        for one in source.tree_of(self.scope.get("__file__") or "").body:
            targets = one.targets if isinstance(one, ast.Assign) else [getattr(one, "target", None)]
            if node.id in [getattr(target, "id", "") for target in targets]:
                value = getattr(one, "value", None)
                return value if isinstance(value, ast.Dict) and value.keys else None
        return None


def parameters_of(node: source.Function) -> list[str]:
    """The names of all but the variadic ones."""
    return [one.arg for one in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]


def field_of(node: ast.AST | None) -> tuple[ast.AST | None, str]:
    """`config` and "dim" of `config.dim`, `config["dim"]`, `getattr(config, "dim", 8)` and `config.get("dim")`."""
    if isinstance(node, ast.Attribute):
        return node.value, node.attr
    if isinstance(node, ast.Subscript):
        return node.value, _text(node.slice)
    if not isinstance(node, ast.Call):
        return None, ""
    if getattr(node.func, "id", "") == "getattr" and len(node.args) > 1:
        return node.args[0], _text(node.args[1])
    is_get = isinstance(node.func, ast.Attribute) and node.func.attr == "get" and bool(node.args)
    return (
        (node.func.value, _text(node.args[0]))
        if is_get and isinstance(node.func, ast.Attribute)
        else (None, "")
    )


def _text(node: ast.AST) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def bare(node: ast.AST | None) -> ast.AST | None:
    """Without `.lower()` and the like."""
    is_method = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    return node.func.value if is_method and hasattr(str, node.func.attr) else node  # type: ignore[union-attr]


def kept_as(cls: type[nn.Module]) -> dict[str, str]:
    """The attributes that hold a parameter, or a field of one, as it was given: `self.mode = config.mode`."""
    node = source.function_node(cls.__init__)
    if node is None:
        return {}
    place = Place(node, cls, {}, {name: name for name in parameters_of(node)[1:]}, {})
    found: dict[str, str] = {}
    for part in ast.walk(node):
        for target, value in _assigned(part):
            is_own = isinstance(target, ast.Attribute) and getattr(target.value, "id", "") == "self"
            if is_own and isinstance(target, ast.Attribute) and (name := place.name_of(value)):
                found[target.attr] = name
    return found


def _assigned(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    if isinstance(node, ast.AnnAssign) and node.value is not None:
        yield node.target, node.value
    for target in node.targets if isinstance(node, ast.Assign) else ():
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):  # type: ignore[attr-defined]
            yield from zip(target.elts, node.value.elts, strict=False)  # type: ignore[attr-defined]
        else:
            yield target, node.value  # type: ignore[attr-defined]


def methods(cls: type[nn.Module]) -> Iterator[source.Function]:
    """The methods of a class and its bases below nn.Module, from their source."""
    for base in cls.__mro__:
        node = source.class_node(base) if base not in (nn.Module, object) else None
        for child in node.body if node is not None else ():
            if isinstance(child, source.Function):
                yield child
