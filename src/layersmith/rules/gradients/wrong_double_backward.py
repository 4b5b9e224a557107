"""A backward that can be differentiated must have the right derivative.

## Why it matters
Gradient penalties, meta-learning and forces in molecules differentiate the gradient. An `autograd.Function` whose
backward reads a plain attribute (`ctx.x = x`) or detaches a saved tensor has a second derivative, silently without a
term.

## How it is tested
Where an `autograd.Function` takes part (with `--gradients full`: always), backward through backward is compared with
differences of backward itself, along one random direction, at two points. It is an error where backward calls a
Function itself, and so has a second derivative on purpose, a warning where it detaches or keeps tensors as
attributes, or a file of it takes or promises second derivatives (`create_graph=True`, "twice differentiable",
"physics-informed", "forces by autograd"), and a note where forward only saves what it has computed, as fast layers do.
A backward that says that it has no second derivative (`once_differentiable`) passes: it fails loudly when it is used.

## How to fix it
Keep tensors with `ctx.save_for_backward` and compute backward from `ctx.saved_tensors` with differentiable
operations; or mark backward `@once_differentiable`.

## How to reproduce it
    leaves = [x.double().requires_grad_() for x in args]
    torch.autograd.gradgradcheck(module.double(), leaves)
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from layersmith.finding import Finding, Severity
from layersmith.observations import findings, gradient_reports, places, require_asked
from layersmith.probe import reading, source
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

FIX = (
    "compute backward from ctx.saved_tensors with differentiable operations, or mark it @once_differentiable"
)
TWICE = (
    r"(?i)\b(?:twice[- ]differentiable|hessian|laplacian|gradgradcheck|gradient penalty|meta-?learning)\b"
    r"|\bphysics[- ](?:informed|loss(?:es)?)\b|\bPINNs?\b|\bd2\w?/d\w"
    r"|\bforces?\b[^.\n]{0,40}\b(?:autograd|derivative|gradient)"
)


@rule(
    severity=Severity.ERROR,
    since="0.1",
    promise=Promise.TRUE_GRADIENT,
    after=("wrong-gradient", "no-gradient"),
)
def wrong_double_backward(case: Case) -> Iterator[Finding]:
    """Report the tensors whose second derivative is wrong."""
    reports = case.once(gradient_reports)
    cls: type = type(case.module)
    for same in places(reports.errors("second order")):
        severity = _severity(same[0].file, same[0].line)
        if severity is Severity.NOTE and any(
            _differentiates_twice(file) for file in (source.file_of(cls), same[0].file)
        ):
            severity = Severity.WARNING
        yield from findings(same, fix=FIX, severity=severity)
    require_asked(reports, "second order")


def _severity(file: str, line: int) -> Severity:
    """How surely a second derivative was meant to be right: what backward's source says."""
    tree = source.tree_of(file)
    backward = next((n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.lineno == line), None)
    text = ast.unparse(backward) if backward is not None else ""
    if ".apply(" in text:
        return Severity.ERROR
    kept = ".saved_tensors" not in text and re.search(r"\bctx\.(?!needs_input_grad)\w+", text)
    drops = kept or re.search(r"\.detach\(|\.data\b|no_grad", text)
    return Severity.WARNING if drops else Severity.NOTE


def _differentiates_twice(file: str) -> bool:
    """Whether code in a file, such as a gradient penalty, asks for a gradient that can be differentiated, or words do."""
    return reading.file_mentions(file, TWICE) or any(
        isinstance(node, ast.keyword)
        and node.arg == "create_graph"
        and not (isinstance(node.value, ast.Constant) and not node.value.value)
        for node in ast.walk(source.tree_of(file))
    )


class _KeptOutside(torch.autograd.Function):
    """What is not kept with save_for_backward is a constant for the second backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.x = x.detach().clone()
        return x**3

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * 3 * ctx.x**2


@wrong_double_backward.bad("the second derivative with respect to input[0]")
class CubesFromAnAttribute(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _KeptOutside.apply(x)


class _Detached(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x @ weight

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        return gradient @ weight.detach().T, x.detach().T @ gradient


@wrong_double_backward.bad("the second derivative with respect to")
class MultipliesDetached(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 6))

    def forward(self, x: Tensor) -> Tensor:
        return _Detached.apply(x, self.weight)


class _Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.x = x.detach().clone()
        return x**3

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * 3 * ctx.x**2


@wrong_double_backward.good
class SaysThatItIsOnce(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _Once.apply(x)


class _Cubed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient * 3 * x**2


@wrong_double_backward.good
class CubesTwice(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _Cubed.apply(_Cubed.apply(x / 2))
