"""A text is not joined to a number by `+`: the line that should say what is wrong raises TypeError itself.

## Why it matters
`raise ValueError("expected 3 axes, got " + len(shape))` is run when something is wrong already. Then it says "can only
concatenate str (not int) to str", and what was wrong stays unsaid.

## How it is tested
The source of the class is read, whether its lines run or not: a text in quotes with `+` beside `len(...)`, `int(...)`,
`float(...)`, a number, `x.shape[0]`, `x.ndim` or `x.dim()`.

## How to fix it
An f-string: `f"expected 3 axes, got {len(shape)}"`.

## How to reproduce it
    try:
        eval(where or "0", {"len": lambda _: 1, **{name: torch.zeros(1) for name in ("x", "y", "shape", "sizes")}})
    except TypeError as error:
        assert "concatenate" not in str(error), error
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import source
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

OF_TENSORS = frozenset({"ndim", "dim", "numel", "itemsize"})


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.PLAIN_CODE, after=())
def text_plus_number(case: Case) -> Iterator[Finding]:
    """Read it, whether the lines ran or not."""
    yield from sums_of(type(case.module))


@text_plus_number.by_source
def sums_of(cls: type) -> Iterator[Finding]:
    """Every sum of a text and a number."""
    node = source.class_node(cls)
    for part in ast.walk(node) if node is not None else ():
        if not isinstance(part, ast.BinOp) or not isinstance(part.op, ast.Add):
            continue
        if (_is_text(part.left) and _is_number(part.right)) or (
            _is_number(part.left) and _is_text(part.right)
        ):
            text = ast.unparse(part)
            yield Finding(
                f"{text:.80} joins a text and a number: it raises TypeError",
                where=text,
                file=source.file_of(cls),
                line=part.lineno,
                fix="write an f-string",
            )


def _is_text(node: ast.expr) -> bool:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _is_text(node.left) or _is_text(node.right)
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _is_number(node: ast.expr) -> bool:
    if isinstance(node, ast.Subscript):
        is_shape = isinstance(node.value, ast.Attribute) and node.value.attr == "shape"
        return is_shape and not isinstance(node.slice, ast.Slice)
    if isinstance(node, ast.Attribute):
        return node.attr == "ndim"
    if isinstance(node, ast.Call):
        is_of_tensor = isinstance(node.func, ast.Attribute) and node.func.attr in OF_TENSORS and not node.args
        return is_of_tensor or getattr(node.func, "id", "") in {"len", "int", "float"}
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


@text_plus_number.bad("joins a text and a number")
class CannotSayHowMany(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 2:  # noqa: PLR2004
            raise ValueError("rows of features, not axes: " + len(x.shape))  # type: ignore[operator]
        return x.relu()


@text_plus_number.bad("joins a text and a number")
class CannotSayWhichSide(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] != 6:  # noqa: PLR2004
            raise ValueError("six features, not " + x.shape[-1] + ", please")  # type: ignore[operator]
        return x.relu()


@text_plus_number.good
class SaysHowMany(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 2:  # noqa: PLR2004
            raise ValueError("rows of features, not axes: " + str(len(x.shape)) + f", {x.ndim}")
        return torch.relu(x + 1 + len("text"))
