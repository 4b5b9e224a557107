"""What an operation gives back must be kept, where it does not work in place.

## Why it matters
`scores.masked_fill(mask, -torch.inf)` on a line of its own masks nothing: it makes another tensor, which is thrown
away. `masked_fill_` was meant, or `scores = scores.masked_fill(...)`. Nothing fails, and a decoder sees its future.

## How it is tested
The source is read: a statement that is nothing but a method of a local tensor which has a twin that works in place, as
`add` has `add_`. A variable is taken for a tensor where the same function calculates with it, or makes it by torch.

## How to fix it
Assign it, `x = x.add(y)`, or call the twin, `x.add_(y)`.

## How to reproduce it
    import ast, inspect, textwrap
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(type(module))))):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            name = ast.unparse(node.value.func)
            assert name != where, f"what {name}() gives back is thrown away"
"""

from __future__ import annotations

import ast
import logging
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import source
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

OTHERS = (set, list, dict, str, logging.Logger)  # whose methods bear such names too
TORCHS = ("torch.", "F.", "nn.functional.")


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.PLAIN_CODE, after=())
def discarded_result(case: Case) -> Iterator[Finding]:
    """Read it, whether the lines ran or not."""
    yield from discarded_by(type(case.module))


@discarded_result.by_source
def discarded_by(cls: type) -> Iterator[Finding]:
    """Every such statement of its methods."""
    for method in source.methods(cls):
        tensors = {name for part in ast.walk(method) for name in _calculated(part)}
        tried = {id(part) for one in ast.walk(method) if isinstance(one, ast.Try) for part in ast.walk(one)}
        for statement in ast.walk(method):
            call = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(call, ast.Call) and id(call) not in tried and _makes_another(call, tensors):
                name = ast.unparse(call.func)
                yield Finding(
                    f"what {name}() gives back is thrown away",
                    where=name,
                    file=source.file_of(cls),
                    line=call.lineno,
                    fix=f"call {name}_(), or assign the result",
                )


def _makes_another(call: ast.Call, tensors: set[str]) -> bool:
    """Whether it is a method of such a tensor with a twin in place, and is given no `out`."""
    method = call.func
    if not isinstance(method, ast.Attribute) or any(word.arg == "out" for word in call.keywords):
        return False
    has_twin = hasattr(Tensor, method.attr) and hasattr(Tensor, f"{method.attr}_")
    is_others = any(hasattr(other, method.attr) for other in OTHERS)
    return has_twin and not is_others and getattr(method.value, "id", "") in tensors


def _calculated(node: ast.AST) -> Iterator[str]:
    """The variables that this node shows to be tensors, or numbers, which have no such methods."""
    if isinstance(node, ast.BinOp):
        yield from (side.id for side in (node.left, node.right) if isinstance(side, ast.Name))
    if isinstance(node, ast.Assign) and (isinstance(node.value, ast.BinOp) or _is_by_torch(node.value)):
        yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def _is_by_torch(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func).startswith(TORCHS)


@discarded_result.bad(
    "what scores.masked_fill() gives back is thrown away", inputs=lambda: torch.randn(2, 5, 6)
)
class MasksNothing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(6, 18)

    def forward(self, x: Tensor, hidden: Tensor | None = None) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        scores = q @ k.mT / 6**0.5
        if hidden is not None:
            scores.masked_fill(hidden, -torch.inf)
        return scores.softmax(-1) @ v


@discarded_result.bad("what y.clamp() gives back is thrown away")
class ClampsNothing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = torch.tanh(x)
        y.clamp(min=-0.5)
        return y


@discarded_result.good(inputs=lambda: torch.randn(2, 5, 6))
class MasksInPlace(nn.Module):
    """The twin in place, and a set to which something is added."""

    def forward(self, x: Tensor) -> Tensor:
        scores = x @ x.mT / 6**0.5
        sizes = {1}
        sizes.add(scores.shape[1])
        scores.masked_fill_(torch.eye(scores.shape[1], dtype=torch.bool, device=x.device), -1e4)
        return scores.softmax(-1) @ x
