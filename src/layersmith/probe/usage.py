"""How `forward` uses an argument, read from its source."""

from __future__ import annotations

import ast
import functools
import linecache
import re
from typing import TypeGuard

from layersmith.probe import source

OF_SHAPE = frozenset(
    "shape size device dtype ndim dim numel new_zeros new_ones new_tensor new_full new_empty type_as".split()
)
OF_KIND = frozenset(
    "len zeros_like ones_like empty_like full_like rand_like randn_like isinstance is_tensor".split()
)
UNUSED = r"un-?used|ignored|not used|compat|placeholder|dummy"


@functools.lru_cache(maxsize=512)
def is_excused(cls: type, name: str) -> bool:
    """Whether an argument is not meant to count: said so, deleted, or asked for no more than its shape and kind."""
    forward = source.function_node(getattr(cls, "forward", None))
    if forward is None or not name:
        return True
    word = rf"\b{re.escape(name)}\b"
    if re.search(
        rf"{word}[^\n]{{0,80}}(?:{UNUSED})|(?:{UNUSED})[^\n]{{0,80}}{word}", _text(cls), re.IGNORECASE
    ):
        return True
    used = [node for node in ast.walk(forward) if isinstance(node, ast.Name) and node.id == name]
    if any(isinstance(node.ctx, ast.Del) for node in used):
        return True
    loads = {id(node) for node in used if isinstance(node.ctx, ast.Load)}
    loads -= {id(node.left) for node in ast.walk(forward) if _asks_for_none(node)}
    excused = {id(part) for node in ast.walk(forward) for part in _excused(node)}
    return bool(loads) and loads <= excused


def _excused(node: ast.AST) -> list[ast.expr]:
    """The variables that this node asks only for shape or kind."""
    if isinstance(node, ast.Attribute) and node.attr in OF_SHAPE:
        return [node.value]
    if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in OF_KIND:
        return node.args
    return []


def _asks_for_none(node: ast.AST) -> TypeGuard[ast.Compare]:
    return isinstance(node, ast.Compare) and any(isinstance(op, ast.Is | ast.IsNot) for op in node.ops)


def _text(cls: type) -> str:
    """The source of the class, without its decorators."""
    node = source.class_node(cls)
    lines = linecache.getlines(source.file_of(cls))
    return "".join(lines[node.lineno - 1 : node.end_lineno]) if node is not None else ""
