"""What a constructor's source asks of its arguments: whether they are None, odd, a pair, or equal."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from torch import nn

from layersmith.probe import source
from layersmith.probe.standing import kept_as, methods


def of_none(cls: type[nn.Module]) -> set[str]:
    """The parameters of which the constructor asks whether they are None."""
    node = source.function_node(cls.__init__)
    asked = [part for part in ast.walk(node) if isinstance(part, ast.Compare)] if node is not None else []
    return {
        part.left.id
        for part in asked
        if isinstance(part.left, ast.Name) and isinstance(part.ops[0], ast.Is | ast.IsNot)
    }


def of_pairs(cls: type[nn.Module]) -> set[str]:
    """The parameters that the constructor makes two of, if they are one number: `to_2tuple(size)`, `pair(size)`."""
    node = source.function_node(cls.__init__)
    calls = [part for part in ast.walk(node) if isinstance(part, ast.Call)] if node is not None else []
    return {
        one.id
        for call in calls
        for one in call.args[:1]
        if isinstance(one, ast.Name) and re.search(r"tuple|pair", ast.unparse(call.func).lower())
    }


def of_odd(cls: type[nn.Module]) -> set[str]:
    """The parameters of which some code asks whether they are odd, other than to refuse: `if self.dim % 2:`."""
    kept = kept_as(cls)
    found = set()
    for method in methods(cls):
        for part in ast.walk(method):
            if isinstance(part, ast.If | ast.IfExp) and not _refuses(part):
                odd = [
                    one.left
                    for one in ast.walk(part.test)
                    if isinstance(one, ast.BinOp) and isinstance(one.op, ast.Mod) and _is_two(one.right)
                ]
                found |= {kept.get(_attribute(one), getattr(one, "id", "")) for one in odd}
    return found


def _refuses(node: ast.If | ast.IfExp) -> bool:
    return isinstance(node, ast.If) and any(isinstance(part, ast.Raise) for part in ast.walk(node))


def _is_two(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value == 2  # noqa: PLR2004


def _attribute(node: ast.AST) -> str:
    is_own = isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "self"
    return node.attr if is_own and isinstance(node, ast.Attribute) else ""


def of_equals(cls: type[nn.Module]) -> Iterator[tuple[str, str]]:
    """Two parameters of which the constructor asks whether they are equal, and nothing else: `if inputs != outputs:`."""
    node, kept = source.function_node(cls.__init__), kept_as(cls)
    for part in ast.walk(node) if node is not None else ():
        is_branch = isinstance(part, ast.If | ast.IfExp) and not _refuses(part)
        test = part.test if is_branch else part.value if isinstance(part, ast.Assign) else None  # type: ignore[attr-defined]
        if (
            isinstance(test, ast.Compare)
            and len(test.ops) == 1
            and isinstance(test.ops[0], ast.Eq | ast.NotEq)
        ):
            sides = (test.left, test.comparators[0])
            one, other = (kept.get(_attribute(side), getattr(side, "id", "")) for side in sides)
            if one and other:
                yield one, other
