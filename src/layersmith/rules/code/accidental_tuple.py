"""A comma at the end of an assignment must not make a tuple of a tensor or of a layer.

## Why it matters
`x = self.norm(x),` is `x = (self.norm(x),)`: the next layer gets a tuple, and what it raises names another line. It
remains of a call whose arguments were moved about.

## How it is tested
The source is read: a tuple of one, without parentheses, is given to a name or to an attribute of `self` that is
then used as no tuple is: called, asked for an attribute, divided, or handed to a layer first.

## How to fix it
Delete the comma; write `(x,)` where a tuple is meant.

## How to reproduce it
    import ast, inspect, textwrap
    tree = ast.parse(textwrap.dedent(inspect.getsource(type(module))))
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple) and len(node.value.elts) == 1:
            assert ast.unparse(node.targets[0]) != where, f"{where} becomes a tuple: {ast.unparse(node)}"
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator

from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import source
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

OF_A_TUPLE = {"count", "index"}
NO_TUPLE_HAS = ast.Sub | ast.Div | ast.FloorDiv | ast.Pow | ast.MatMult


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.PLAIN_CODE, after=())
def accidental_tuple(case: Case) -> Iterator[Finding]:
    """Read it, whether the lines ran or not."""
    yield from tuples_of(type(case.module))


@accidental_tuple.by_source
def tuples_of(cls: type) -> Iterator[Finding]:
    """Each assignment with such a comma whose name is used otherwise."""
    node = source.class_node(cls)
    for method in source.methods(cls):
        for assignment in ast.walk(method):
            if not isinstance(assignment, ast.Assign) or not _is_bare(assignment.value):
                continue
            target = ast.unparse(assignment.targets[0])
            within = node if target.startswith("self.") else method
            if within is not None and _is_no_tuple(within, target, assignment.lineno):
                yield Finding(
                    f"the comma at the end makes {target} a tuple of one",
                    where=target,
                    file=source.file_of(cls),
                    line=assignment.lineno,
                    fix="delete the comma, or write (x,) where a tuple is meant",
                )


def _is_bare(value: ast.expr) -> bool:
    """Whether this is `f(x),`: a tuple of one call that begins where the call begins."""
    is_one = isinstance(value, ast.Tuple) and len(value.elts) == 1 and isinstance(value.elts[0], ast.Call)
    return is_one and value.col_offset == value.elts[0].col_offset  # type: ignore[attr-defined]


def _is_no_tuple(within: ast.AST, target: str, line: int) -> bool:
    """Whether what was assigned in that line is used as no tuple is, before it is assigned again."""
    own = target.startswith("self.")
    again = [
        node.lineno
        for node in ast.walk(within)
        if isinstance(node, ast.Assign) and node.lineno > line and target in map(ast.unparse, node.targets)
    ]
    last = min(again, default=math.inf)
    nodes = (node for node in ast.walk(within) if own or line < getattr(node, "lineno", 0) <= last)
    return any(_uses(node, target) for node in nodes)


def _uses(node: ast.AST, target: str) -> bool:
    """Whether a node calls the target, asks it for an attribute, divides it, or hands it to a layer first."""

    def is_it(part: ast.expr) -> bool:
        return isinstance(part, ast.Name | ast.Attribute) and ast.unparse(part) == target

    if isinstance(node, ast.Attribute):
        return is_it(node.value) and node.attr not in OF_A_TUPLE
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, NO_TUPLE_HAS) and (is_it(node.left) or is_it(node.right))
    if not isinstance(node, ast.Call):
        return False
    callee = ast.unparse(node.func)
    is_layer = callee.startswith(("self.", "F.", "nn.functional.", "torch.nn.functional."))
    return is_it(node.func) or (is_layer and bool(node.args) and is_it(node.args[0]))


@accidental_tuple.bad("the comma at the end makes y a tuple of one")
class LeavesACommaInABranch(nn.Module):
    def __init__(self, width: int = 6, *, has_norm: bool = False) -> None:
        super().__init__()
        self.linear, self.has_norm = nn.Linear(width, width), has_norm
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        if self.has_norm:
            y = self.norm(y),  # fmt: skip  # noqa: COM818
        return self.linear(y)


@accidental_tuple.bad("the comma at the end makes self.late a tuple of one")
class LeavesACommaInAMethod(nn.Module):
    late: nn.Module

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.width, self.linear = width, nn.Linear(width, width)

    def grow(self) -> None:
        self.late = nn.Linear(self.width, self.width),  # type: ignore[assignment]  # fmt: skip  # noqa: COM818

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x)
        return self.late(y) if "late" in vars(self) else y


@accidental_tuple.good
class MeansATuple(nn.Module):
    """Kept, joined and unpacked as what they are; and one that is taken apart before it is used."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        seen = self.linear(x),  # fmt: skip  # noqa: COM818
        last = self.linear(x.relu()),  # fmt: skip  # noqa: COM818
        last = last[0]
        return (*seen, self.linear(last))
