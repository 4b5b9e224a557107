"""The globals that a script sets below `if __name__ == "__main__"` and that its classes read: `n_class = 2`."""

from __future__ import annotations

import ast
import builtins
import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from layersmith.probe import source

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def settle(module: ModuleType) -> None:
    """Give a module what its classes and functions read and only its own start sets, without starting it.

    Of what stands there, no more than the assignments to these names are run, with those to the names that they are
    made of, and calls of methods of these (`parser.add_argument(...)`); none that calls the script's own functions.
    """
    file = getattr(module, "__file__", None)
    if file is None or not Path(file).exists():
        return
    tree = source.tree_of(file)
    own = {node.name for node in tree.body if isinstance(node, _DEFINITIONS)}
    statements = [one for one in _started(tree) if not own & _read(one)]
    wanted = {name for node in tree.body if isinstance(node, _DEFINITIONS) for name in _read(node)}
    wanted = {name for name in wanted if name not in vars(module) and not hasattr(builtins, name)}
    for statement in _needed(statements, wanted):
        with contextlib.suppress(
            Exception, SystemExit
        ):  # not to be had without the rest, or without arguments
            exec(compile(ast.Module([statement], []), file, "exec"), vars(module))  # noqa: S102 - as the import did


def _started(tree: ast.AST) -> list[ast.stmt]:
    """The statements below `if __name__ == "__main__"`, those in a `with` or a `try` left out."""
    body = getattr(tree, "body", [])
    tests = [node for node in body if isinstance(node, ast.If) and "__main__" in ast.unparse(node.test)]
    return [statement for node in tests for statement in node.body]


def _needed(statements: list[ast.stmt], wanted: set[str]) -> Iterator[ast.stmt]:
    """Those that set the wanted names, or what these are made of, in their order."""
    known: set[str] = set()
    while known != wanted:
        known = {*wanted}
        for statement in statements:
            if _set(statement) & known:
                wanted = wanted | _read(statement)
    yield from (one for one in statements if _set(one) & known)


def _set(statement: ast.stmt) -> set[str]:
    """The names that a statement assigns or imports, or the one of which it calls a method."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name.partition(".")[0] for alias in statement.names}
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        owner = getattr(statement.value.func, "value", None)
        return {owner.id} if isinstance(owner, ast.Name) else set()
    if not isinstance(statement, ast.Assign | ast.AnnAssign):
        return set()
    return {
        part.id
        for part in ast.walk(statement)
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
    }


def _read(node: ast.AST) -> set[str]:
    return {
        part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load)
    }
