"""The constants that an expression stands for, where its source or a name in its scope says so."""

from __future__ import annotations

import ast
import builtins
import enum
import inspect
import typing
from collections.abc import Mapping
from typing import Any

_SAME = {"list", "tuple", "set", "frozenset", "sorted", "keys", "get_args"}
PLAIN = (str, bool, int, float, type(None), enum.Enum)


def constants(
    node: ast.AST | None,
    scope: Mapping[str, Any],
    cls: type | None = None,
    local: Mapping[str, ast.expr] | None = None,
) -> list[Any] | None:
    """The values of `("a", "b")`, of a name for them, or of one constant; of a table its keys. None if unknown.

    Args:
        node: the expression.
        scope: the global names that it sees.
        cls: what `self` is an instance of.
        local: variables that hold a literal.
    """
    if isinstance(node, ast.Constant):
        return [node.value]
    if isinstance(node, ast.Tuple | ast.List | ast.Set | ast.Dict):
        parts = node.keys if isinstance(node, ast.Dict) else node.elts
        found = [constants(part, scope, cls, local) for part in parts]
        return None if None in found else [value for values in found if values for value in values]
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        inner = [*node.args, *([node.func.value] if isinstance(node.func, ast.Attribute) else [])][:1]
        return constants(inner[0], scope, cls, local) if name in _SAME and inner else None
    if isinstance(node, ast.Name) and local and node.id in local:
        others = {name: value for name, value in local.items() if name != node.id}
        return constants(local[node.id], scope, cls, others)
    return _members(meant(node, scope, cls))


def meant(node: ast.AST | None, scope: Mapping[str, Any], cls: type | None = None) -> Any:
    """The object that a dotted name means, that of a class for `self`; None if it is not known."""
    if isinstance(node, ast.Name):
        own = cls if node.id in ("self", "cls") and cls is not None else getattr(builtins, node.id, None)
        return scope.get(node.id, own)
    if not isinstance(node, ast.Attribute):
        return None
    try:
        return getattr(meant(node.value, scope, cls), node.attr, None)
    except Exception:  # noqa: BLE001 - a package's stand-in for what is not installed raises what it likes
        return None


def _members(value: Any) -> list[Any] | None:
    """The plain values in a collection, the keys of a table, the members of an enumeration, or one value alone."""
    if value is not None and isinstance(value, PLAIN):
        return [value]
    if typing.get_origin(value) is typing.Literal:
        return [*typing.get_args(value)]
    is_enumeration = inspect.isclass(value) and issubclass(value, enum.Enum)
    if type(value) not in (tuple, list, set, frozenset, dict) and not is_enumeration:
        return None
    members: list[Any] = [*typing.cast("Any", value)]
    members = sorted(members, key=str) if isinstance(value, set | frozenset) else members
    return members if all(isinstance(one, PLAIN) for one in members) else None
