"""Small questions about syntax trees."""

from __future__ import annotations

import ast


def integer(node: ast.AST) -> int | None:
    """A literal whole number, with its sign; None for anything else."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = integer(node.operand)
        return -inner if inner is not None else None
    value = node.value if isinstance(node, ast.Constant) else None
    return value if type(value) is int else None


def is_ellipsis_or_none(node: ast.expr) -> bool:
    """Whether a part of a subscript takes no single dimension."""
    return isinstance(node, ast.Constant) and node.value in (None, Ellipsis)


def is_super(node: ast.expr) -> bool:
    """Whether this is `super().name`."""
    inner = node.value if isinstance(node, ast.Attribute) else None
    return isinstance(inner, ast.Call) and getattr(inner.func, "id", "") == "super"
