"""A method that resets must set what the others read.

## Why it matters
`self.context_left = None` in `reset()`, where forward keeps its state in `self.left`, makes an attribute that nobody
reads, and the next stream begins with the end of the one before. Python has no word for it.

## How it is tested
The source is read. Reported is an attribute that a method called `reset` or `clear`, or one whose name begins so, sets to
None, zero, False or something empty, and that stands nowhere else in the file, if another method sets and reads an
attribute of the module that this one leaves alone.

## How to fix it
Set the attribute that holds the state.

## How to reproduce it
    import ast, inspect
    tree = ast.parse(inspect.getsource(inspect.getmodule(type(module))))
    named = [node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    assert named.count(where) != 1, f"nothing reads self.{where}"
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import source, wording
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

RESETS = re.compile(r"(?:reset|clear)(?:_|$)")
EMPTY = ("None", "0", "0.0", "False", "[]", "{}", "()", "''", "dict()", "list()", "set()")


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.PLAIN_CODE, after=())
def reset_of_nothing(case: Case) -> Iterator[Finding]:
    """Read it: no call of forward shows what a later stream begins with."""
    yield from resets_of(type(case.module))


@reset_of_nothing.by_source
def resets_of(cls: type) -> Iterator[Finding]:
    """Each attribute that is only reset, of a class with a state that is not."""
    methods = source.methods(cls)
    resetting = [one for one in methods if RESETS.match(one.name)]
    if not resetting:
        return
    everywhere = [
        one.attr for one in ast.walk(source.tree_of(source.file_of(cls))) if isinstance(one, ast.Attribute)
    ]
    others = [one for one in methods if one not in resetting and one.name != "__init__"]
    kept = {name for one in others for name in _set(one)} & {name for one in others for name in _read(one)}
    for method in resetting:
        done = _set(method)
        for name, value in done.items():
            if everywhere.count(name) == 1 and ast.unparse(value) in EMPTY and kept - done.keys():
                yield Finding(
                    f"{method.name}() sets self.{name}, which nothing reads; {wording.listed(sorted(kept))} stays",
                    where=name,
                    file=source.file_of(cls),
                    line=value.lineno,
                    fix=f"set self.{min(kept)} there",
                )


def _set(method: ast.FunctionDef) -> dict[str, ast.expr]:
    """The attributes of self that a method sets, with what it sets them to."""
    assigned = [node for node in ast.walk(method) if isinstance(node, ast.Assign | ast.AnnAssign)]
    pairs = [(t, node.value) for node in assigned for t in getattr(node, "targets", None) or [node.target]]  # type: ignore[union-attr]
    return {
        target.attr: value
        for target, value in pairs
        if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self" and value is not None
    }


def _read(method: ast.FunctionDef) -> set[str]:
    attributes = (
        node
        for node in ast.walk(method)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    )
    return {node.attr for node in attributes if ast.unparse(node.value) == "self"}


@reset_of_nothing.bad("reset() sets self.context, which nothing reads")
class KeepsItsContext(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last: Tensor | None = None

    def reset(self) -> None:
        self.context = None

    def forward(self, x: Tensor, is_streaming: bool = False) -> Tensor:
        if not is_streaming:
            return x * 2
        before = torch.zeros_like(x) if self.last is None else self.last
        self.last = x.detach()
        return x * 2 + before


@reset_of_nothing.bad("clear_cache() sets self.caches, which nothing reads")
class ClearsAnother(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cached: dict[int, Tensor] = {}

    def clear_cache(self) -> None:
        self.caches: dict[int, Tensor] = {}

    def table(self, n: int) -> Tensor:
        if n not in self.cached:
            self.cached = {n: torch.arange(float(n))}
        return self.cached[n]

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table(x.shape[-1]).to(x)


@reset_of_nothing.good
class ResetsItsState(nn.Module):
    """Sets what it keeps, and a count that only its user reads."""

    def __init__(self) -> None:
        super().__init__()
        self.previous: Tensor | None = None

    def reset(self) -> None:
        self.previous = None
        self.started = False

    def forward(self, x: Tensor, is_streaming: bool = False) -> Tensor:
        if not is_streaming:
            return x * 2
        before = torch.zeros_like(x) if self.previous is None else self.previous
        self.previous = x.detach()
        return x * 2 + before
