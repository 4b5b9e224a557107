"""A penalty on a gradient needs the graph of that gradient.

## Why it matters
`torch.autograd.grad(score, x)` gives numbers that no graph stands behind. A gradient penalty made of them is a constant:
the loss shows it, and no weight ever feels it.

## How it is tested
The source is read: a call of `autograd.grad` without `create_graph`, or with `create_graph=False`, of which something is
made that is called a penalty (`gradient_penalty`, `gp`), by its own name or its method's, and returned. What is detached
or turned into a number on the way is for a log, and passes.

## How to fix it
`torch.autograd.grad(score, x, create_graph=True)`.

## How to reproduce it
    import ast, inspect, textwrap
    tree = ast.parse(textwrap.dedent(inspect.getsource(type(module))))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    grads = [call for call in calls if ast.unparse(call.func).endswith("autograd.grad")]
    plain = [call for call in grads if "create_graph=" not in ast.unparse(call)]
    assert not where or not plain, f"no graph behind {ast.unparse(plain[0])}"
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

PENALTY = re.compile(r"penalt|(?:^|_)(?:wgan_?)?gp(?:$|_)", re.IGNORECASE)
CUT = re.compile(r"\.(?:detach|item|cpu|numpy|tolist)\(\)|\bfloat\(")
CALL = re.compile(r"(?:^|\.)autograd\.grad$")


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.PLAIN_CODE, after=())
def penalty_without_graph(case: Case) -> Iterator[Finding]:
    """Read the class of the module."""
    yield from penalties_in(type(case.module))


@penalty_without_graph.by_source
def penalties_in(cls: type) -> Iterator[Finding]:
    """The calls that leave no graph, in the methods that speak of a penalty."""
    for method in source.methods(cls):
        for call in (node for node in ast.walk(method) if isinstance(node, ast.Call)):
            is_asked = CALL.search(ast.unparse(call.func)) and not _keeps_a_graph(call)
            if is_asked and _goes_into_a_penalty(method, call):
                yield Finding(
                    f"{method.name}() takes a gradient without its graph, so that no parameter learns from the penalty",
                    where=method.name,
                    file=source.file_of(cls),
                    line=call.lineno,
                    fix="torch.autograd.grad(..., create_graph=True)",
                )


def _goes_into_a_penalty(method: source.Function, call: ast.Call) -> bool:
    """Whether what is made of the gradient, and not for a log, is called a penalty and returned."""
    made: set[str] = set()
    for node in sorted(
        (one for one in ast.walk(method) if isinstance(one, ast.Assign)), key=lambda one: one.lineno
    ):
        if _reads(node.value, made, call) and not CUT.search(ast.unparse(node.value)):
            made |= {
                part.id for target in node.targets for part in ast.walk(target) if isinstance(part, ast.Name)
            }
    returned = [one.value for one in ast.walk(method) if isinstance(one, ast.Return) and one.value]
    is_returned = any(_reads(one, made, call) and not CUT.search(ast.unparse(one)) for one in returned)
    return is_returned and any(map(PENALTY.search, (method.name, *made)))


def _reads(value: ast.expr, names: set[str], call: ast.Call) -> bool:
    return any(one is call or (isinstance(one, ast.Name) and one.id in names) for one in ast.walk(value))


def _keeps_a_graph(call: ast.Call) -> bool:
    """Whether it is told to, or perhaps: by a name, an expression or `**options`."""
    given = [keyword for keyword in call.keywords if keyword.arg in {"create_graph", None}]
    return len(call.args) > 4 or any(  # noqa: PLR2004 - the fifth is create_graph
        not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False) for keyword in given
    )


class _Critic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))


@penalty_without_graph.bad(
    "gradient_penalty() takes a gradient without its graph",
    inputs=lambda: (torch.randn(4, 6), torch.randn(4, 6)),
)
class PenaltyOfNumbers(_Critic):
    def gradient_penalty(self, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(self.net(x).sum(), x)
        return (slope.norm(dim=1) - 1).square().mean()

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        return self.net(fake).mean() - self.net(real).mean() + self.gradient_penalty((real + fake) / 2)


@penalty_without_graph.bad("forward() takes a gradient without its graph")
class PenaltyInForward(_Critic):
    def forward(self, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            score = self.net(x).sum()
            slope = torch.autograd.grad(score, x, retain_graph=True, create_graph=False)[0]
        r1_penalty = slope.square().sum(1).mean()
        return score + r1_penalty


@penalty_without_graph.good
class PenaltyWithItsGraph(_Critic):
    def gradient_penalty(self, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(self.net(x).sum(), x, create_graph=True)
        return (slope.norm(dim=1) - 1).square().mean()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


@penalty_without_graph.good
class MovesUphill(_Critic):
    """A step along the gradient, as samplers take it, needs no graph."""

    def step(self, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(self.net(x).sum(), x)
        return x + 0.1 * slope

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)
