"""Attributes that a constructor sets only under a flag, and that forward reads whatever the flag says."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torch import nn

from layersmith.probe import parameters, source
from layersmith.probe.undefined import Unknown

LEAVES = ast.Return | ast.Raise | ast.Break | ast.Continue


def unset(cls: type) -> Iterator[Unknown]:
    """Attributes of `self` set in one branch of the constructor only, and read by forward outside any condition."""
    owner = next((base for base in cls.__mro__ if "__init__" in vars(base)), nn.Module)
    built, called = (
        source.function_node(vars(owner).get("__init__")),
        source.function_node(getattr(cls, "forward", None)),
    )
    if built is None or called is None or owner is nn.Module or called.decorator_list:
        return
    flags = {one.arg for one in ast.walk(built.args) if isinstance(one, ast.arg)}
    for statement in built.body:
        if not isinstance(statement, ast.If) or statement.orelse or not _names(statement.test) <= flags:
            continue
        for name in _set_in(statement):
            line = _read_always(called, name)
            if line and not _is_set_otherwise(cls, built, statement, name):
                yield Unknown(name, source.file_of(cls), line)


def _names(node: ast.AST) -> set[str]:
    """The names in a plain test of flags; `self` and calls make it another one, which is not in any signature."""
    if any(isinstance(part, ast.Call | ast.Attribute) for part in ast.walk(node)):
        return {""}
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)} or {""}


def _set_in(branch: ast.If) -> list[str]:
    """The attributes that a branch sets, unless it leaves the constructor or turns them down itself."""
    if any(isinstance(part, LEAVES) for one in branch.body for part in ast.walk(one)):
        return []
    ends = [end for one in branch.body if isinstance(one, ast.Assign) for end in one.targets]
    return [
        end.attr for end in ends if isinstance(end, ast.Attribute) and getattr(end.value, "id", "") == "self"
    ]


def _read_always(forward: source.Function, name: str) -> int:
    """The line of forward that reads the attribute whatever the flags are; 0 where a condition stands before it."""
    for statement in forward.body:
        if isinstance(statement, ast.If) and _asks(statement.test, name):
            return statement.lineno
        if isinstance(statement, ast.If | ast.Try | ast.With | ast.For | ast.While | ast.Match):
            if any(isinstance(part, LEAVES) or _is_it(part, name) for part in ast.walk(statement)):
                return 0
            continue
        choices = [
            part for part in ast.walk(statement) if isinstance(part, ast.IfExp | ast.BoolOp | ast.Lambda)
        ]
        guarded = {id(part) for choice in choices for part in ast.walk(choice)}
        reads = [part for part in ast.walk(statement) if _is_it(part, name)]
        if reads:
            return 0 if any(id(part) in guarded for part in reads) else statement.lineno
    return 0


def _asks(test: ast.expr, name: str) -> bool:
    """Whether a condition reads the attribute before anything else: `if self.bias is not None`."""
    first = test.values[0] if isinstance(test, ast.BoolOp) else test
    parts = [*ast.walk(first)]
    is_plain = not any(isinstance(part, ast.IfExp | ast.BoolOp | ast.Lambda) for part in parts)
    return is_plain and any(_is_it(part, name) for part in parts)


def _is_it(node: ast.AST, name: str) -> bool:
    is_own = isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "self"
    return is_own and isinstance(node, ast.Attribute) and node.attr == name


def _is_set_otherwise(cls: type, built: source.Function, branch: ast.If, name: str) -> bool:
    """Whether a base, another line of the class, or other code ever sets or names it."""
    if hasattr(cls, name) or any(name in vars(base).get("__annotations__", {}) for base in cls.__mro__):
        return True
    inside = {id(part) for part in ast.walk(branch)}
    nodes = [
        node
        for base in cls.__mro__
        if (node := source.class_node(base)) is not None and base is not nn.Module
    ]
    own = [part for node in nodes for part in ast.walk(node) if id(part) not in inside]
    is_stored = any(_is_it(part, name) and not isinstance(part.ctx, ast.Load) for part in own)  # type: ignore[attr-defined]
    is_named = any(isinstance(part, ast.Constant) and part.value == name for part in own)
    called = {
        part.func.attr
        for part in ast.walk(built)
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute)
    }
    return is_stored or is_named or bool(called & {"setattr", "add_module"}) or parameters.reflects(cls)


def options_behind(cls: type, name: str) -> set[str]:
    """What the constructor asks of its arguments before it sets an attribute: {"n"} for `if n is not None: ...`."""
    node = source.function_node(getattr(cls, "__init__", None))
    found: set[str] = set()
    for branch in (part for part in ast.walk(node or ast.Pass()) if isinstance(part, ast.If)):
        if name in _set_in(branch):
            found |= {part.id for part in ast.walk(branch.test) if isinstance(part, ast.Name)}
    return found
