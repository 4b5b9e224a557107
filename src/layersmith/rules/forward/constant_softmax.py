"""A softmax must be taken over several scores: over a single one it is 1 whatever the score.

## Why it matters
A layer gives one score a step, `[batch, 1, steps]`, and its softmax is taken over the axis of that one. Every weight is
1, the weighted mean is a sum, and the layer never gets a gradient. A classifier of one output behind a softmax is sure
of everything. Shapes fit, nothing fails.

## How it is tested
Softmax and log_softmax are watched on several inputs. Reported is one whose results are all 1 (or 0, of the logarithm),
whatever the input, and whose scores come of a layer that the source gives a single output: `nn.Linear(n, 1)`,
`nn.Conv1d(n, 1, 1)`. A softmax over what happens to be a single step or pixel passes.

## How to fix it
Take it over the axis of the steps; of a single output take a sigmoid.

## How to reproduce it
    run().sum().backward()
    layer = module.get_submodule(where)
    assert not where or layer.weight.grad.any(), f"{where} gets no gradient: the softmax of its one output is constant"
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import leaves, source
from layersmith.probe.squashing import Squashed, squashed
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

OPERATIONS = {"softmax": 1.0, "log_softmax": 0.0}  # and what each gives for a single score
SIZES = ("out_features", "out_channels")


@rule(
    severity=Severity.WARNING,
    since="0.1",
    promise=Promise.EVERY_PARAMETER_LEARNS,
    after=("forward-raises", "nondeterministic-eval"),
)
def constant_softmax(case: Case) -> Iterator[Finding]:
    """One finding a layer of one output."""
    told: set[str] = set()
    for calls in squashed(case.module, case.inputs, OPERATIONS, least=1):
        layer = _single(case.module, calls[0].result) if all(map(_is_constant, calls)) else ""
        if layer and layer not in told:
            told.add(layer)
            first = calls[0]
            yield Finding(
                f"{first.operation}() is taken over the single output of {layer}: it is "
                f"{OPERATIONS[first.operation]:.0f} whatever the input",
                where=layer,
                file=first.file,
                line=first.line,
                fix="take it over the axis of the steps; of a single output take a sigmoid",
            )


def _is_constant(one: Squashed) -> bool:
    """Whether it says nothing, of several scores a row, or of the one of each that the module returns."""
    rows = one.result.shape[0] if one.result.ndim else 1
    is_of_several = one.result.numel() > rows or one.is_output
    return is_of_several and bool((one.result == OPERATIONS[one.operation]).all())


def _single(module: nn.Module, result: Tensor) -> str:
    """The layer that made the scores, if the source gives it one output."""
    for path in leaves.nearest(result, module)[:1]:
        layer = path.rpartition(".")[0]
        has_one = isinstance(module.get_submodule(layer), nn.Linear | nn.Conv1d | nn.Conv2d)
        if (
            has_one
            and len(module.get_parameter(path)) == 1
            and _is_said(*source.parameter_line(module, path))
        ):
            return layer
    return ""


def _is_said(file: str, line: int) -> bool:
    """Whether a layer with a single output stands in a statement that begins there."""
    for statement in ast.walk(source.tree_of(file)):
        if isinstance(statement, ast.stmt) and statement.lineno == line:
            return any(_has_one_output(node) for node in ast.walk(statement) if isinstance(node, ast.Call))
    return False


def _has_one_output(call: ast.Call) -> bool:
    sizes = [*call.args[1:2], *(keyword.value for keyword in call.keywords if keyword.arg in SIZES)]
    return any(isinstance(size, ast.Constant) and size.value == 1 for size in sizes)


@constant_softmax.bad(
    "softmax() is taken over the single output of score", inputs=lambda: torch.randn(3, 6, 5)
)
class PoolsOverItsScores(nn.Module):
    """[batch, 1, steps], and the softmax over axis 1."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Conv1d(6, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.softmax(self.score(torch.tanh(x)), dim=1)
        return (weights * x).sum(2)


@constant_softmax.bad(
    "softmax() is taken over the single output of attention.2", inputs=lambda: torch.randn(3, 5, 6)
)
class AttendsOverTheLastAxis(nn.Module):
    """[batch, steps, 1], and the softmax over the last axis."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, out_features=1))

    def forward(self, x: Tensor) -> Tensor:
        return (self.attention(x).softmax(dim=-1) * x).sum(1)


@constant_softmax.bad("softmax() is taken over the single output of head")
class SureOfEverything(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 8)
        self.head = nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.softmax(self.head(self.body(x).relu()), dim=1)


@constant_softmax.good(inputs=lambda: torch.randn(3, 6, 5))
class PoolsOverItsSteps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Conv1d(6, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.score(torch.tanh(x)).softmax(-1)
        return (weights * x).sum(2)


@constant_softmax.good(inputs=lambda: torch.randn(3, 6, 2, 2))
class SeesASinglePlace(nn.Module):
    """What is left of a small image is one pixel: of a larger one it would be several."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Conv2d(6, 1, 1)
        self.mix = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.max_pool2d(x, 2)
        weights = self.score(x).flatten(1).softmax(-1)
        return self.mix((weights.unsqueeze(1) * x.flatten(2)).sum(-1))
