"""Columns of an input that forward picks by number, and gives one each to a layer."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from layersmith.probe import source

PAIR = 2


@dataclass(frozen=True, slots=True)
class Skipped:
    """A column that nothing reads, beside one that two layers get."""

    name: str  # of the variable
    column: int
    twice: int  # the column that was taken in its place
    layers: tuple[str, ...]  # which get that
    line: int


def skipped(function: source.Function) -> Iterator[Skipped]:
    """A column between others that is left out where another is given to two layers: one number was not changed."""
    picks: dict[str, list[tuple[int, str, int]]] = {}
    layers = {
        id(call.args[0]): _layer(call)
        for call in ast.walk(function)
        if isinstance(call, ast.Call) and call.args
    }
    for node in ast.walk(function):
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            column = _column(node.slice)
            if column is not None:
                picks.setdefault(node.value.id, []).append((column, layers.get(id(node), ""), node.lineno))
    for name, found in picks.items():
        columns = [column for column, *_ in found]
        holes = {*range(max(columns))} - {*columns}
        doubled = {column for column in columns if columns.count(column) > 1}
        given = [layer for _, layer, _ in found]
        if len(holes) != 1 or len(doubled) != 1 or not all(given) or len({*given}) < len(given):
            continue
        hole, twice = holes.pop(), doubled.pop()
        both = [(layer, line) for column, layer, line in found if column == twice]
        if len(both) == PAIR and abs(hole - twice) == 1:  # heads may share what stands elsewhere
            yield Skipped(name, hole, twice, tuple(layer for layer, _ in both), both[-1][1])


def _column(index: ast.expr) -> int | None:
    """The last number of `x[..., 2]` and `x[:, :, 2]`; None for any other way of picking."""
    if not isinstance(index, ast.Tuple):
        return None
    *before, last = index.elts
    is_whole = all(
        (isinstance(one, ast.Constant) and one.value is ...) or ast.unparse(one) == ":" for one in before
    )
    is_number = isinstance(last, ast.Constant) and type(last.value) is int
    return last.value if is_whole and is_number and isinstance(last, ast.Constant) else None  # type: ignore[return-value]


def _layer(call: ast.Call) -> str:
    """The name of the layer that is called; "" where it is none of the module's own."""
    function = call.func
    is_own = isinstance(function, ast.Attribute) and getattr(function.value, "id", "") == "self"
    return function.attr if is_own and isinstance(function, ast.Attribute) else ""
