"""Arguments that are as wide as another one unless they are given: `out_dim = out_dim or dim`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from torch import nn

from layersmith.probe import source

WIDTH = re.compile(r"chan|dim|width|features|hidden|planes|(?:^|_)(?:in|out)$")
NOT_OUT = re.compile(
    r"^(?:k|q|v|key|query|value|kv|context|cond|memory|cross|input|in|enc\w*)_|_in$|in_", re.IGNORECASE
)


def copied(cls: type[nn.Module]) -> dict[str, str]:
    """Of each such argument, the other; not of those that say how wide another input is."""
    node = source.function_node(cls.__init__)
    found: dict[str, str] = {}
    for part in ast.walk(node) if node is not None else ():
        for own, other in _pairs(part):
            if WIDTH.search(own) and WIDTH.search(other) and not NOT_OUT.search(own):
                found.setdefault(own, other)
    return found


def _pairs(node: ast.AST) -> Iterator[tuple[str, str]]:
    """The names in `a if a is not None else b`, `b if a is None else a`, `a or b`, `default(a, b)`, and statements so."""
    if isinstance(node, ast.IfExp):
        names = [getattr(one, "id", "") for one in (node.body, node.orelse)]
        asked = {part.id for part in ast.walk(node.test) if isinstance(part, ast.Name)}
        yield from ((own, other) for own, other in (names, names[::-1]) if own in asked and other)
    elif isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or) and len(node.values) == 2:  # noqa: PLR2004
        yield _named(node.values)
    elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "default" and len(node.args) == 2:  # noqa: PLR2004
        yield _named(node.args)
    elif isinstance(node, ast.If) and len(node.body) == 1 and isinstance(node.body[0], ast.Assign):
        assigned = node.body[0]
        asked = {part.id for part in ast.walk(node.test) if isinstance(part, ast.Name)}
        own, other = _named([assigned.targets[0], assigned.value])
        if own in asked:
            yield own, other


def _named(nodes: list[ast.expr]) -> tuple[str, str]:
    return getattr(nodes[0], "id", ""), getattr(nodes[1], "id", "")
