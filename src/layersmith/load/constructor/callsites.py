"""Literal arguments with which a file or project builds a class, also below `if __name__ == "__main__"`."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Mapping
from typing import Any

from layersmith.load.constructor import devices, names, sites
from layersmith.load.constructor.settings import UNKNOWN
from layersmith.load.constructor.syntax import resolved
from layersmith.load.constructor.worth import worth

_LARGE = 1024
_FARTHEST = 2  # how many calls whose arguments take more reading are told


def whole(cls: type) -> list[dict[str, Any]]:
    """Every call of the class in its file whose arguments are all literal, as arguments by name."""
    found = []
    for site in sites.near(cls):
        bound = _bound(cls, site)
        if bound and all(is_literal for is_literal, _ in bound.values()):
            found.append({name: value for name, (_, value) in bound.items()})
    unique = [one for index, one in enumerate(found) if one not in found[:index]]
    return [one for one in unique if all(_is_small(value) for value in one.values())]


def literals(cls: type) -> dict[str, list[Any]]:
    """For each parameter the literals that calls of the class in its file give to it."""
    found: dict[str, list[Any]] = {}
    for site in sites.near(cls):
        for name, (is_literal, value) in _bound(cls, site).items():
            known = found.setdefault(name, [])
            if is_literal and _is_small(value) and value not in known:
                known.append(value)
    return found


def farther(cls: type) -> list[dict[str, Any]]:
    """What calls of the class give to it that is no literal but can be found out, of those that say most.

    `Net(nodes, args.hidden * 8)`: options of the project's parsers and names that are bound once are followed.
    """
    scope = vars(sys.modules.get(cls.__module__, object))
    found: list[dict[str, Any]] = []
    for site in dict.fromkeys([*sites.near(cls), *sites.elsewhere(cls)]):
        told = {name: _told(node, scope, site) for name, node in site.arguments(cls, is_part=True).items()}
        known = {name: value for name, value in told.items() if value is not UNKNOWN and _is_small(value)}
        if known and known not in found:
            found.append(known)
    return sorted(found, key=len, reverse=True)[:_FARTHEST]


def _told(node: ast.expr, scope: Mapping[str, Any], site: sites.Site) -> Any:
    is_literal, value = _literal(node, scope)
    value = value if is_literal else worth(node, site)
    return devices.here(value)


def relations(cls: type, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Values that calls in the file compute from other arguments: `padding=(kernel_size - 1) * dilation`; bounds apart.

    Args:
        cls: the class.
        chosen: the arguments so far.
    """
    for site in sites.near(cls):
        given = site.arguments(cls)
        held = {node.id: chosen.get(name) for name, node in given.items() if isinstance(node, ast.Name)}
        found: dict[str, Any] = {}
        for name, node in given.items():
            used = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
            are_known = bool(used) and all(type(held.get(one)) is int for one in used)
            is_said = isinstance(node, ast.BinOp) and are_known
            if is_said and type(chosen.get(name)) is int:
                found[name] = _computed(node, {one: held[one] for one in used})
        found = {name: value for name, value in found.items() if type(value) is int and value > 0}
        if found:
            return names.apart(chosen) | found
    return names.apart(chosen)


def _computed(node: ast.expr, values: Mapping[str, Any]) -> Any:
    try:
        expression = compile(ast.Expression(node), "<call>", "eval")
        return eval(expression, {"__builtins__": {}}, dict(values))  # noqa: S307 - arithmetic on whole numbers
    except Exception:  # noqa: BLE001 - a division by zero, a function: no advice from it
        return None


def _bound(cls: type, site: sites.Site) -> dict[str, tuple[bool, Any]]:
    """The arguments by parameter name, each with whether it is a literal."""
    scope = vars(sys.modules.get(cls.__module__, object))
    return {name: _literal(node, scope) for name, node in site.arguments(cls).items()}


def _literal(node: ast.expr, scope: Mapping[str, Any]) -> tuple[bool, Any]:
    """A literal's value, or the class or function that a name of the file means."""
    try:
        return True, ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        known = resolved(node, scope)
        return inspect.isclass(known) or inspect.isroutine(known), known


def _is_small(value: Any) -> bool:
    return not isinstance(value, int) or isinstance(value, bool) or abs(value) <= _LARGE
