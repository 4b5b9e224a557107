"""The live objects behind expressions of forward: `self.blocks[0]`, loop variables, functions of the file."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from torch import nn

from layersmith.probe import source

_FIXED = (
    ast.Name,
    ast.Attribute,
    ast.Constant,
    ast.Compare,
    ast.cmpop,
    ast.expr_context,
    ast.List,
    ast.Tuple,
)
ITERABLES = (list, tuple, nn.ModuleList, nn.Sequential, nn.ParameterList)


def looked_up(node: ast.AST, module: Any, local: Mapping[str, Any]) -> Any:
    """The object behind `self.a.b[0]`, or a loop variable; None where it is not known.

    Args:
        node: the expression.
        module: what `self` is; what else it is has no functions.
        local: the loop variables that hold submodules.
    """
    try:
        if isinstance(node, ast.Attribute):
            is_self = isinstance(node.value, ast.Name) and node.value.id == "self"
            return getattr(module if is_self else looked_up(node.value, module, local), node.attr, None)
        if isinstance(node, ast.Subscript):
            held = looked_up(node.value, module, local)
            picked = local.get(node.slice.id) if isinstance(node.slice, ast.Name) else None
            if isinstance(picked, nn.Module) and any(part is picked for part in held):
                return picked
            return held[node.slice.value] if isinstance(node.slice, ast.Constant) else next(iter(held))
        return local.get(node.id, _function(node.id, module)) if isinstance(node, ast.Name) else None
    except Exception:  # noqa: BLE001 - attributes of the user's objects may do anything
        return None


def _function(name: str, module: Any) -> Any:
    """A function of the user's that the file of the module's class knows by this name."""
    scope = getattr(inspect.unwrap(source.forward(type(module))), "__globals__", {})
    found = scope.get(name)
    is_known = inspect.isfunction(found) and found.__module__.startswith(("torch.", "einops."))  # by its name
    return found if inspect.isfunction(found) and not is_known else None


def truth(test: ast.expr, module: Any) -> bool | None:
    """What a test of the module's own settings comes to, `self.dims == 3`; None where it asks for anything else."""
    if isinstance(test, ast.BoolOp):
        parts = [truth(part, module) for part in test.values]
        ends = isinstance(test.op, ast.Or)
        return ends if ends in parts else None if None in parts else not ends
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inner = truth(test.operand, module)
        return None if inner is None else not inner
    parts_of_it = list(ast.walk(test))
    is_own = {part.id for part in parts_of_it if isinstance(part, ast.Name)} == {"self"}
    is_fixed = all(
        isinstance(part, _FIXED) and getattr(part, "attr", "") != "training" for part in parts_of_it
    )
    if not (is_own and is_fixed):
        return None
    try:
        return bool(eval(compile(ast.Expression(test), "<test>", "eval"), {"self": module}))  # noqa: S307 - no calls
    except Exception:  # noqa: BLE001 - an attribute that is not there, a tensor of several numbers
        return None


def picked_by(
    number: ast.expr, function: source.Function, look_up: Callable[[ast.AST], Any]
) -> Iterator[tuple[ast.expr, ast.expr]]:
    """A loop's number, with the layers of which it picks one in each turn: `self.heads[i](x)`."""
    for part in ast.walk(function):
        if not isinstance(part, ast.Subscript) or not isinstance(part.slice, ast.Name):
            continue
        if part.slice.id == getattr(number, "id", "") and isinstance(look_up(part.value), nn.ModuleList):
            yield number, part.value
            return


def named(targets: Iterable[ast.expr], values: Iterable[Any]) -> dict[str, Any]:
    """The names among the targets of an assignment or loop, with their values."""
    return {t.id: v for t, v in zip(targets, values, strict=False) if isinstance(t, ast.Name)}
