"""What a module computes with its own parameters must be read.

## Why it matters
`scores = self.mix(scores)` after the line that used `scores` for the last time mixes nothing: `weights` was meant. The
layer costs its time, gets no gradient, and nothing is said.

## How it is tested
The source is read: an assignment of one name, outside of loops, of something that a part or a parameter of the module
takes part in, where no later line of the method reads that name. Names that begin with `_`, and those that an inner
function reads, are left alone.

## How to fix it
Assign it to the name that the lines below read; or remove the layer.

## How to reproduce it
    import ast, inspect, textwrap
    tree = ast.parse(textwrap.dedent(inspect.getsource(type(module).forward)))
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == where]
    last = max(names, key=lambda node: (node.lineno, isinstance(node.ctx, ast.Store)), default=None)
    assert last is None or not isinstance(last.ctx, ast.Store), f"nothing reads the last {where}"
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import source
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

ASKS = {"len", "isinstance", "getattr", "hasattr", "next", "iter", "type"}  # of a part, without calling it
SCOPES = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
LOOPS = ast.For | ast.While | ast.Try


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.PLAIN_CODE, after=())
def unread_result(case: Case) -> Iterator[Finding]:
    """Read forward, and what the module computes by."""
    cls: type = type(case.module)
    forward = source.function_node(source.forward(cls))
    for assignment, name in _unread(forward) if forward is not None else ():
        learned = next((one for one in _own(assignment.value) if _is_learned(case.module, one)), "")
        if learned and "_hook(" not in source.text_of(cls):  # which may keep what is called for them only
            yield Finding(
                f"{name} is made by self.{learned}, and nothing reads it",
                where=name,
                file=source.file_of(cls),
                line=assignment.lineno,
                fix="assign it to the name that is read below",
            )


def _unread(method: source.Function) -> Iterator[tuple[ast.Assign, str]]:
    """The assignments of a name that is not read behind them."""
    apart = {id(part) for one in ast.walk(method) if isinstance(one, LOOPS) for part in ast.walk(one)}
    inner = (one for one in ast.walk(method) if isinstance(one, SCOPES) and one is not method)
    kept = {part.id for one in inner for part in ast.walk(one) if isinstance(part, ast.Name)}
    reads = [
        one for one in ast.walk(method) if isinstance(one, ast.Name) and not isinstance(one.ctx, ast.Store)
    ]
    for node in ast.walk(method):
        target = node.targets[0] if isinstance(node, ast.Assign) and len(node.targets) == 1 else None
        if not isinstance(node, ast.Assign) or not isinstance(target, ast.Name) or id(node) in apart:
            continue
        end = (node.end_lineno or 0, node.end_col_offset or 0)
        is_read = any(one.id == target.id and (one.lineno, one.col_offset) >= end for one in reads)
        if not is_read and not target.id.startswith("_") and target.id not in kept:
            yield node, target.id


def _own(value: ast.expr) -> list[str]:
    """The attributes of self that are called in it, handed to a call, or calculated with."""
    operands: list[ast.expr] = []
    for part in ast.walk(value):
        if isinstance(part, ast.Call) and getattr(part.func, "id", "") not in ASKS:
            operands += [part.func, *part.args]
        elif isinstance(part, ast.BinOp):
            operands += [part.left, part.right]
    return [
        one.attr for one in operands if isinstance(one, ast.Attribute) and ast.unparse(one.value) == "self"
    ]


def _is_learned(module: nn.Module, name: str) -> bool:
    """Whether the attribute is a parameter, or a part that has some; of one that an option makes, by its source."""
    cls: type = type(module)
    if not hasattr(module, name):
        return re.search(rf"self\.{name}\s*=\s*nn\.(?!Identity|Dropout)", source.text_of(cls)) is not None
    found = getattr(module, name)
    return isinstance(found, nn.Parameter) or (
        isinstance(found, nn.Module) and any(True for _ in found.parameters())
    )


class _Attends(nn.Module):
    def __init__(self, heads: int = 2) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.eye(heads) + 0.1)


@unread_result.bad("scores is made by self.mix, and nothing reads it", inputs=lambda: torch.randn(3, 2, 5, 4))
class MixesTooLate(_Attends):
    def forward(self, x: Tensor) -> Tensor:
        scores = x @ x.mT
        weights = scores.softmax(-1)
        scores = torch.einsum("bhij, hk -> bkij", scores, self.mix)
        return weights @ x


@unread_result.bad("y is made by self.second, and nothing reads it")
class ReturnsTheFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        y = self.second(x.relu())  # noqa: F841 - as it is found
        return x


@unread_result.good(inputs=lambda: torch.randn(3, 2, 5, 4))
class MixesItsWeights(_Attends):
    def forward(self, x: Tensor) -> Tensor:
        weights = (x @ x.mT).softmax(-1)
        weights = torch.einsum("bhij, hk -> bkij", weights, self.mix)
        return weights @ x
