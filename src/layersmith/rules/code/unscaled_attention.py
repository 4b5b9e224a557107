"""The scale that a constructor computes for its attention is applied.

## Why it matters
`self.scale = head_width**-0.5` stands in the constructor, and forward takes the softmax of `q @ k` all the same: the
scores grow with the width of a head, one key takes all of the weight, and the gradients of the others vanish. It
trains, worse.

## How it is tested
The source is read: an attribute named `scale`, `scaling`, `scale_factor` or `norm_factor` that the constructor computes
and nothing reads, in a class that takes a softmax of products itself and neither divides, roots nor normalises there.

## How to fix it
Multiply the scores by it before the softmax, or leave the attribute out and say why the scores want no scale.

## How to reproduce it
    import ast, inspect, textwrap
    tree = ast.walk(ast.parse(textwrap.dedent(inspect.getsource(type(module)))))
    uses = [type(node.ctx).__name__ for node in tree if isinstance(node, ast.Attribute) and node.attr == where]
    assert "Load" in uses or not uses, f"self.{where} is computed and read nowhere"
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import parameters, source
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

NAMES = re.compile(r"scale|scaling|scale_factor|norm_factor")
SOFTMAX = re.compile(r"\bsoftmax\(|\.Softmax\(")
PRODUCTS = re.compile(r" @ |\bmatmul\(|\bbmm\(|\beinsum\(|\bbaddbmm\(")
# What scales otherwise, or leaves the scores no wider than the width allows.
SCALED = re.compile(
    r"\bsqrt|\*\* ?-?\(?[01]|\bdiv_?\(|scaled_dot|normali[sz]e|norm\(|cosine|temperature|\b/ "
)


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.PLAIN_CODE, after=())
def unscaled_attention(case: Case) -> Iterator[Finding]:
    """Read the class of the module."""
    yield from unscaled_in(type(case.module))


@unscaled_attention.by_source
def unscaled_in(cls: type) -> Iterator[Finding]:
    """Every scale that is computed and read nowhere, where the class attends."""
    methods = {method.name: method for method in source.methods(cls)}
    constructor = methods.pop("__init__", None)
    if constructor is None:
        return
    text = "\n".join(map(ast.unparse, methods.values()))
    attends = SOFTMAX.search(f"{text}\n{ast.unparse(constructor)}") and PRODUCTS.search(text)
    if not attends or SCALED.search(text):
        return
    for name, line in _computed(constructor):
        if not _reads(constructor, name) and not parameters.is_read(cls, name):
            yield Finding(
                f"self.{name} is computed and read nowhere: the scores of the softmax are not scaled",
                where=name,
                file=source.file_of(cls),
                line=line,
                fix=f"scores = scores * self.{name}, before the softmax",
            )


def _reads(constructor: ast.FunctionDef, name: str) -> bool:
    """Whether weights are made of that size, say."""
    found = (part for part in ast.walk(constructor) if isinstance(part, ast.Attribute) and part.attr == name)
    return any(isinstance(part.ctx, ast.Load) for part in found)


def _computed(constructor: ast.FunctionDef) -> Iterator[tuple[str, int]]:
    """The attributes of these names that are set to what is neither an argument as it came nor a parameter."""
    for node in (part for part in ast.walk(constructor) if isinstance(part, ast.Assign)):
        target, is_computed = node.targets[0], isinstance(node.value, ast.BinOp | ast.Call | ast.IfExp)
        is_named = isinstance(target, ast.Attribute) and NAMES.fullmatch(target.attr)
        if is_named and is_computed and "Parameter" not in ast.unparse(node.value):
            yield target.attr, node.lineno  # type: ignore[attr-defined]


@unscaled_attention.bad("self.scale is computed and read nowhere", inputs=lambda: torch.randn(2, 5, 6))
class NeverScaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(6, 18)
        self.scale = 6**-0.5

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return (q @ k.mT).softmax(-1) @ v


@unscaled_attention.bad("self.norm_factor is computed and read nowhere", inputs=lambda: torch.randn(2, 5, 8))
class HeadsNeverScaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm_factor = 1 / (8 // 2) ** 0.5
        self.to_qkv = nn.Linear(8, 24)
        self.attend = nn.Softmax(dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (2, 4)) for part in self.to_qkv(x).chunk(3, dim=-1))
        weights = self.attend(torch.einsum("bqhd,bkhd->bhqk", q, k))
        return torch.einsum("bhqk,bkhd->bqhd", weights, v).flatten(-2)


@unscaled_attention.good(inputs=lambda: torch.randn(2, 5, 6))
class ScaledOtherwise(nn.Module):
    """Cosines are no wider than one whatever the width: the scale is left for those who ask."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(6, 18)
        self.scale = 6**-0.5

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        weights = nn.functional.normalize(q, dim=-1) @ nn.functional.normalize(k, dim=-1).mT
        return weights.softmax(-1) @ v


@unscaled_attention.good(inputs=lambda: torch.randn(2, 5, 6))
class ScalesItsWeights(nn.Module):
    """The scale is that of the weights as they are made."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = 6**-0.5
        self.weight = nn.Parameter(self.scale * torch.randn(6, 6))

    def forward(self, x: Tensor) -> Tensor:
        return (x @ self.weight @ x.mT).softmax(-1) @ x


@unscaled_attention.good(inputs=lambda: torch.randn(2, 5, 6))
class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(6, 18)
        self.scale = 6**-0.5

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return (q * self.scale @ k.mT).softmax(-1) @ v
