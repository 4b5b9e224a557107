"""An error that is made must be raised.

## Why it matters
`ValueError("bias is not supported")` on a line of its own refuses nothing: the `raise` is missing, and the value that
was to be refused goes on to where it does harm.

## How it is tested
The source is read: a statement that is nothing but a call of a class of errors, one of Python's own or one that the
file knows.

## How to fix it
Write `raise` before it.

## How to reproduce it
    import ast, inspect, textwrap
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(type(module))))):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            name = ast.unparse(node.value.func)
            assert name != where, f"{ast.unparse(node)} is made, and not raised"
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import source
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.PLAIN_CODE, after=())
def unraised_error(case: Case) -> Iterator[Finding]:
    """Read it, whether the lines ran or not."""
    yield from errors_of(type(case.module))


@unraised_error.by_source
def errors_of(cls: type) -> Iterator[Finding]:
    """Every error that is made as a statement."""
    node = source.class_node(cls)
    scope = {**vars(builtins), **vars(sys.modules.get(cls.__module__, builtins))}
    for statement in ast.walk(node) if node is not None else ():
        call = statement.value if isinstance(statement, ast.Expr) else None
        if isinstance(call, ast.Call) and _is_error(call.func, scope):
            name = ast.unparse(call.func)
            yield Finding(
                f"{name}(...) is made, and not raised",
                where=name,
                file=source.file_of(cls),
                line=statement.lineno,  # type: ignore[attr-defined]
                fix=f"write raise {name}(...)",
            )


def _is_error(node: ast.expr, scope: dict[str, Any]) -> bool:
    found = scope.get(node.id) if isinstance(node, ast.Name) else None
    is_class = isinstance(found, type) and issubclass(found, BaseException)
    return is_class and not issubclass(found, Warning)  # type: ignore[arg-type]


@unraised_error.bad("ValueError(...) is made, and not raised")
class RefusesNothing(nn.Module):
    def __init__(self, width: int = 6, groups: int = 1) -> None:
        super().__init__()
        if width % groups:
            ValueError(f"groups must divide {width}, not {groups}")  # noqa: PLW0133 - the slip
        self.linear = nn.Linear(width, width // groups)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


class RowsError(Exception):
    """Raised of rows that are none."""


@unraised_error.bad("RowsError(...) is made, and not raised")
class LetsItPass(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 0:
            RowsError("a number is no row")
        return x.relu()


@unraised_error.good
class RaisesItLater(nn.Module):
    """An error is kept, and raised where it is known that nothing else helps."""

    def forward(self, x: Tensor) -> Tensor:
        error = RowsError("a number is no row")
        if x.ndim == 0:
            raise error
        return x.relu()
