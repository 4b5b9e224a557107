"""Containers of which a call takes some parts only, as its caller says, read from the source."""

from __future__ import annotations

import ast

from layersmith.probe import source


def chooses_from(owner: type, attribute: str) -> bool:
    """Whether a class takes what it is told of a container: `self.heads[task]`, or all `until i == step: break`."""
    return any(
        _is_picked(part, attribute, method) or _is_left(part, attribute, method)
        for method in source.methods(owner)
        if method.name != "__init__"
        for part in ast.walk(method)
    )


def _is_picked(part: ast.AST, attribute: str, method: ast.FunctionDef) -> bool:
    return (
        isinstance(part, ast.Subscript) and _is_own(part.value, attribute) and _is_given(part.slice, method)
    )


def _is_left(part: ast.AST, attribute: str, method: ast.FunctionDef) -> bool:
    """Whether it is a loop over the container that ends where an argument of the method says."""
    if not isinstance(part, ast.For) or not any(_is_own(node, attribute) for node in ast.walk(part.iter)):
        return False
    arguments = {argument.arg for argument in (*method.args.args[1:], *method.args.kwonlyargs)}
    return any(
        isinstance(test, ast.If)
        and any(isinstance(end, ast.Break | ast.Return) for end in test.body)
        and any(isinstance(name, ast.Name) and name.id in arguments for name in ast.walk(test.test))
        for test in ast.walk(part)
    )


def _is_given(key: ast.expr, method: ast.FunctionDef) -> bool:
    """Whether a key is an argument of the method, or an attribute; not a constant nor a loop's variable."""
    if isinstance(key, ast.Attribute):
        return True
    names = {node.id for node in ast.walk(key) if isinstance(node, ast.Name)}
    looped = {
        name.id
        for loop in ast.walk(method)
        if isinstance(loop, ast.For | ast.comprehension)
        for name in ast.walk(loop.target)
        if isinstance(name, ast.Name)
    }
    return bool(names - looped)


def _is_own(node: ast.AST, attribute: str) -> bool:
    return ast.unparse(node) == f"self.{attribute}"
