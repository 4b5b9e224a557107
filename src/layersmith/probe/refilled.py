"""Attributes that a constructor fills with a parameter's value and then, before anything reads them, fills anew."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from layersmith.probe import source

VALUES = {"Parameter": 0, "Buffer": 0, "tensor": 0, "as_tensor": 0, "float": 0, "full": 1}  # the place of it
FILLS = frozenset({"fill_", "zero_", "copy_", "normal_", "uniform_"})


def refilled(cls: type, node: source.Function, name: str) -> tuple[str, int]:
    """The attribute that a parameter fills to no end, and the line where it is filled anew; "" and 0 if there is none.

    Args:
        cls: the class.
        node: its constructor.
        name: of the parameter.
    """
    loads = [part for part in ast.walk(node) if isinstance(part, ast.Name) and part.id == name]
    statements = [*_flat(cls, node)]
    for place, statement in enumerate(statements):
        attribute = _filled(statement, name)
        if not attribute or len(loads) != 1:
            continue
        for later in statements[place + 1 :]:
            if _is_fill(later, attribute):
                return attribute, later.lineno
            if _names(later, attribute):
                break
    return "", 0


def _flat(cls: type, node: source.Function) -> Iterator[ast.stmt]:
    """The statements of a constructor that are under no condition, and those of the methods that it calls so."""
    for statement in node.body:
        called = _own_call(statement)
        method = source.function_node(getattr(cls, called, None)) if called else None
        yield from method.body if method is not None else [statement]


def _own_call(statement: ast.stmt) -> str:
    """The method of a statement `self.reset_parameters()`."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    if (
        not isinstance(call, ast.Call)
        or call.args
        or call.keywords
        or not isinstance(call.func, ast.Attribute)
    ):
        return ""
    return call.func.attr if getattr(call.func.value, "id", "") == "self" else ""


def _filled(statement: ast.stmt, name: str) -> str:
    """The attribute that a statement makes of the parameter's value, not of a shape that it gives."""
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return ""
    target = statement.targets[0]
    is_own = isinstance(target, ast.Attribute) and getattr(target.value, "id", "") == "self"
    is_made = isinstance(statement.value, ast.Call) and _is_value(statement.value, name)
    return target.attr if is_own and is_made and isinstance(target, ast.Attribute) else ""


def _is_value(node: ast.expr, name: str) -> bool:
    if isinstance(node, ast.Name):
        return node.id == name
    if isinstance(node, ast.BinOp):
        return _is_value(node.left, name) or _is_value(node.right, name)
    if not isinstance(node, ast.Call):
        return False
    place = VALUES.get(getattr(node.func, "attr", getattr(node.func, "id", "")), -1)
    words = [word.value for word in node.keywords if word.arg in ("data", "fill_value")]
    given = [*words, *node.args[place : place + 1]] if place >= 0 else []
    return any(_is_value(one, name) for one in given)


def _is_fill(statement: ast.stmt, attribute: str) -> bool:
    """Whether it is `nn.init.constant_(self.scale, 1.0)` or `self.scale.data.fill_(1.0)`, of nothing of its own."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
        return False
    is_init = call.func.attr.endswith("_") and "init" in ast.unparse(call.func.value) and bool(call.args)
    filled = call.args[0] if is_init else call.func.value
    rest = [*(call.args[1:] if is_init else call.args), *(word.value for word in call.keywords)]
    is_its = ast.unparse(filled) in (f"self.{attribute}", f"self.{attribute}.data")
    is_anew = is_its and (is_init or call.func.attr in FILLS)
    return is_anew and not any(_names(one, attribute) for one in rest)


def _names(node: ast.AST, attribute: str) -> bool:
    return any(isinstance(part, ast.Attribute) and part.attr == attribute for part in ast.walk(node))
