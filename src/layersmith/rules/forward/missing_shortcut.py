"""A class that is called residual adds its input to what it computes of it.

## Why it matters
Without `+ x` a block works, trains worse the deeper the model is, and nothing raises: shapes are the same either way.

## How it is tested
Asked of classes whose name ends with `Residual`, `ResidualBlock`, `SkipConnection` and the like. Neither their own
methods, those of their bases, nor those of the user's classes among their parts add, subtract, join or blend anything,
and none is a recurrent cell; and the output is of the input's shape.

## How to fix it
`return x + self.fn(x)`; or call the class by what it does.

## How to reproduce it
    with torch.no_grad():
        [parameter.zero_() for parameter in module.parameters()]
    assert run().abs().sum() > 0, "of a residual block with zeros for weights nothing is left"
"""

from __future__ import annotations

import ast
import linecache
import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import source, tree
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

NAME = re.compile(r"(?:Residual|Shortcut)(?:Block|Unit|Layer|Wrapper|Add)?$|(?:Skip|Residual)Connection$")
CELLS = (nn.RNNBase, nn.RNNCellBase)  # which blend what they are given with their state
SUMS = (ast.Add, ast.Sub)
JOINS = frozenset(
    (
        "add add_ sub sub_ cat concat concatenate stack lerp addcmul baddbmm addmm sum einsum softmax index_add "
        "scatter_add"
    ).split()
)


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.DECLARED)
def missing_shortcut(case: Case) -> Iterator[Finding]:
    """Read every class that takes part."""
    cls: type = type(case.module)
    if not NAME.search(cls.__name__) or source.forward(cls) is nn.Module.forward:
        return
    kinds = {
        kind for part in nn.Module.modules(case.module) for kind in type(part).__mro__ if _is_users(kind)
    }
    blends = any(isinstance(part, CELLS) for part in nn.Module.modules(case.module))
    if blends or any(map(_adds, kinds)) or _is_added_outside(cls) or not _is_like_its_input(case):
        return
    file, line = source.class_line(cls)
    forward = source.function_node(vars(cls).get("forward"))
    yield Finding(
        f"{cls.__name__} adds its input to nothing: its output is what its layers make of it",
        "output",
        file,
        forward.lineno if forward is not None else line,
        fix="return x + ..., or give the class another name",
    )


def _is_added_outside(cls: type) -> bool:
    """Whether a class of the file adds it to what it gives it: `x = x + self.mix(x)`, where mix is one."""
    text = "".join(linecache.getlines(source.file_of(cls)))
    for holder in re.split(r"^(?=class )", text, flags=re.MULTILINE):
        for held in re.findall(rf"self\.(\w+) *= *{cls.__name__}\(", holder):
            called = rf"\bself\.{held}\("
            given = r"(?!self\b)(\w+)"
            if re.search(rf"\b{given} *\+=?[^\n+]*{called}[^\n]*\b\1\b|{called}{given}\) *\+ *\1\b", holder):
                return True
    return False


def _is_users(kind: type) -> bool:
    return kind is not object and not source.is_torchs(kind.__module__)


def _adds(kind: type) -> bool:
    """Whether its methods, the constructor aside, add or join anything; so may what cannot be read."""
    node = source.class_node(kind)
    if node is None:
        return True
    methods = [one for one in node.body if isinstance(one, source.Function) and one.name != "__init__"]
    return any(_is_sum(part) for one in methods for part in ast.walk(one))


def _is_sum(node: ast.AST) -> bool:
    if isinstance(node, ast.BinOp):
        are_two = not any(isinstance(one, ast.Constant) for one in (node.left, node.right))  # no `1 - rate`
        return isinstance(node.op, SUMS) and are_two
    if isinstance(node, ast.AugAssign):
        return isinstance(node.op, SUMS)
    return isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in JOINS


def _is_like_its_input(case: Case) -> bool:
    """Whether the first output could be the sum of the input and something else."""
    x, output = (next(tree.tensors(one), None) for one in ([*case.inputs.tensors()], case.run()))
    return x is not None and output is not None and x.is_floating_point() and x.shape == output.shape


@missing_shortcut.bad("TimesItsResidual adds its input to nothing")
class TimesItsResidual(nn.Module):
    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.fn, self.gate = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fn(x) * self.gate(x).sigmoid()


@missing_shortcut.bad("ConvResidualBlock adds its input to nothing", inputs=lambda: torch.randn(2, 4, 7, 9))
class ConvResidualBlock(nn.Module):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


@missing_shortcut.good
class PlainResidual(nn.Module):
    """The sum is that of a part."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.inner = AddsItsInput(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x).relu()


class AddsItsInput(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fn = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fn(x)


@missing_shortcut.good
class WidensResidual(nn.Module):
    """What has another width is added by whoever calls it."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.fn = nn.Linear(width, 2 * width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fn(x).relu()


@missing_shortcut.good
class RecurrentResidual(nn.Module):
    """A cell decides how much of the input stays."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.fn, self.cell = nn.Linear(width, width), nn.GRUCell(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.cell(self.fn(x), x)


@missing_shortcut.good(inputs=lambda: torch.randn(2, 4, 7, 9))
class InvertedResidual(ConvResidualBlock):
    """Whoever holds it adds it, as the class below does."""


@missing_shortcut.good(inputs=lambda: torch.randn(2, 4, 7, 9))
class Stage(nn.Module):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.mix = InvertedResidual(width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mix(x)
