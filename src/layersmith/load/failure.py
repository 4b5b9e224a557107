"""What an error says about the code that raised it: the statement, its names, the failed comparison."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

from torch import nn

from layersmith.probe import arguments, source
from layersmith.probe.inputs import Inputs

_COMPARED = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Is, ast.IsNot, ast.In, ast.NotIn)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sides of a comparison in a failed assert, or in the `if` above a raise, with their values."""

    left: ast.expr
    right: ast.expr
    got: Any
    wanted: Any
    division: tuple[Any, Any] = (None, None)  # of `a % b == 0`: a and b


def frames(error: BaseException) -> list[tuple[FrameType, int]]:
    """The frames of an error with their lines, innermost first, those of Layersmith left out."""
    found, trace = [], error.__traceback__
    while trace is not None:
        found.append((trace.tb_frame, trace.tb_lineno))
        trace = trace.tb_next
    return [frame for frame in reversed(found) if not source.is_machinery(frame[0].f_code.co_filename)]


def names_behind(error: BaseException, wanted: set[str], code: CodeType | None = None) -> list[str]:
    """Which of the wanted names stand in the failing statement, or one assignment before it.

    Args:
        error: what was raised.
        wanted: parameter names of the function at fault.
        code: look only at the frames that run this code.
    """
    for frame, line in frames(error):
        if code is not None and frame.f_code is not code:
            continue
        found = [name for name in _names_at(frame.f_code, line) if name in wanted]
        if found:
            return list(dict.fromkeys(found))
    return []


def misses_one(error: BaseException, module: nn.Module, inputs: Inputs) -> bool:
    """Whether it is about None where forward hands on, or uses, an argument that it was not given."""
    is_of_none = "NoneType" in str(error)
    return is_of_none and bool(names_behind(error, arguments.unset(module, inputs)))


def name_in(node: ast.expr, function: str) -> str:
    """The name of which a call asks, `sizes` of `len(sizes)`; "" of anything else."""
    is_call = isinstance(node, ast.Call) and getattr(node.func, "id", "") == function and len(node.args) == 1
    return getattr(node.args[0], "id", "") if is_call and isinstance(node, ast.Call) else ""


def line_text(error: BaseException) -> str:
    """The innermost failing statement that is not torch's own, as text."""
    found = statement(error)
    return ast.unparse(found) if found is not None else ""


def statement(error: BaseException) -> ast.stmt | None:
    """The innermost failing statement that is not torch's own."""
    for frame, line in frames(error):
        if not frame.f_code.co_filename.startswith((source.TORCH, "<")):
            return _statement(frame.f_code, line)
    return None


def comparisons(error: BaseException) -> list[Comparison]:
    """The comparisons of the innermost failed assert or guarded raise, evaluated where they failed."""
    for frame, line in frames(error):
        tests = list(_tests(frame.f_code, line))
        if tests:
            return [one for test in tests for one in _evaluated(test, frame)]
    return []


def isinstance_tests(error: BaseException) -> list[tuple[str, tuple[type, ...]]]:
    """Names and the types that the failed assert or guarded raise asked of them by isinstance."""
    for frame, line in frames(error):
        tests = list(_tests(frame.f_code, line))
        if tests:
            calls = [node for test in tests for node in ast.walk(test) if isinstance(node, ast.Call)]
            return [asked for call in calls for asked in _asked_types(call, frame)]
    return []


def known_keys(error: BaseException, kind: type = str) -> list[Any]:
    """The keys of one kind of the mapping in which a KeyError found nothing: `LAYERS[kind]`, `BLOCKS[depth]`."""
    for frame, line in frames(error) if isinstance(error, KeyError) else ():
        found = _statement(frame.f_code, line)
        for node in ast.walk(found) if found is not None else ():
            try:
                mapping = value_of(node.value, frame) if isinstance(node, ast.Subscript) else None
            except Exception:  # noqa: BLE001, S112 - not everything can be evaluated twice
                continue
            if isinstance(mapping, dict):
                return [key for key in mapping if type(key) is kind]
    return []


def value_of(node: ast.expr, frame: FrameType) -> Any:
    """What an expression of names, attributes, subscripts, arithmetic and pure calls is worth in a frame."""
    expression = ast.fix_missing_locations(ast.Expression(node))
    return eval(compile(expression, "<test>", "eval"), frame.f_globals, frame.f_locals)  # noqa: S307 - it was just run


def _asked_types(call: ast.Call, frame: FrameType) -> Iterator[tuple[str, tuple[type, ...]]]:
    is_test = getattr(call.func, "id", "") == "isinstance" and len(call.args) == 2  # noqa: PLR2004
    if not is_test or not isinstance(call.args[0], ast.Name):
        return
    try:
        types = value_of(call.args[1], frame)
    except Exception:  # noqa: BLE001 - a name that is gone: no advice from it
        return
    yield (
        call.args[0].id,
        tuple(t for t in (types if isinstance(types, tuple) else (types,)) if isinstance(t, type)),
    )


def _evaluated(test: ast.expr, frame: FrameType) -> Iterator[Comparison]:
    for node in ast.walk(test):
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], _COMPARED):
            left, right = node.left, node.comparators[0]
            try:
                division = (None, None)
                if isinstance(left, ast.BinOp) and isinstance(left.op, ast.Mod):
                    division = (value_of(left.left, frame), value_of(left.right, frame))
                yield Comparison(left, right, value_of(left, frame), value_of(right, frame), division)
            except Exception:  # noqa: BLE001, S112 - not everything can be evaluated twice
                continue


@functools.lru_cache(maxsize=512)
def _function(code: CodeType) -> source.Function | None:
    return source.code_node(code)


def _statement(code: CodeType, line: int) -> ast.stmt | None:
    """The smallest statement of the function that spans the line."""
    node = _function(code)
    if node is None:
        return None
    spanning = [
        part
        for part in ast.walk(node)
        if isinstance(part, ast.stmt) and part is not node and part.lineno <= line <= (part.end_lineno or 0)
    ]
    return min(spanning, key=lambda part: (part.end_lineno or 0) - part.lineno, default=None)


def _names_at(code: CodeType, line: int) -> list[str]:
    statement, function = _statement(code, line), _function(code)
    if statement is None or function is None:
        return []
    parts: list[ast.AST] = [*_tests(code, line), _head(statement)]
    names = [name for part in parts for name in _loaded(part)]
    for node in ast.walk(function):  # names that were made from parameters, one step back
        if isinstance(node, ast.Assign | ast.AugAssign) and node.lineno < line:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            bound = {part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)}
            if bound & set(names):
                names += _loaded(node.value)
    return names


def _head(statement: ast.stmt) -> ast.AST:
    """What a compound statement evaluates itself, without its body."""
    if isinstance(statement, ast.If | ast.While):
        return statement.test
    if isinstance(statement, ast.For):
        return statement.iter
    return statement


def _loaded(node: ast.AST) -> list[str]:
    return [part.id for part in ast.walk(node) if isinstance(part, ast.Name)]


def _tests(code: CodeType, line: int) -> Iterator[ast.expr]:
    """The condition of an assert on the line, or of the innermost `if` whose body raises on it."""
    node = _function(code)
    for part in ast.walk(node) if node is not None else ():
        if isinstance(part, ast.Assert) and part.lineno <= line <= (part.end_lineno or 0):
            yield part.test
        if isinstance(part, ast.If) and any(_raises_at(child, line) for child in [*part.body, *part.orelse]):
            yield part.test


def _raises_at(node: ast.stmt, line: int) -> bool:
    return isinstance(node, ast.Raise) and node.lineno <= line <= (node.end_lineno or 0)
