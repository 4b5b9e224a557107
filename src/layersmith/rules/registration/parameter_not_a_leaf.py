"""What is made of a parameter must be assigned as a parameter, before anything is done to it.

## Why it matters
`nn.Parameter(t) * 0.1` and `nn.Parameter(t).to(device)` are plain tensors again: results of an operation, which nn.Module
does not register and no optimizer accepts. The values look right, the gradient goes to a tensor that nobody holds.

## How it is tested
Attributes are searched for tensors that ask for a gradient but are results of an operation. Those that a gradient reaches
from the output, and that were made by the constructor, are reported.

## How to fix it
Do the arithmetic first: `self.scale = nn.Parameter(0.1 * torch.ones(n))`; move the whole module, not one parameter.

## How to reproduce it
    known = {id(p) for p in module.parameters()}
    graph, seen, used = [run().grad_fn], set(), []
    while graph:
        node = graph.pop()
        if node is not None and node not in seen:
            seen.add(node); used.append(getattr(node, "variable", None)); graph += [n for n, _ in node.next_functions]
    assert all(p is None or id(p) in known for p in used), "forward trains tensors that parameters() does not list"
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import untracked
from layersmith.probe.registration import Hidden
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.REGISTERED)
def parameter_not_a_leaf(case: Case) -> Iterator[Finding]:
    """One finding an attribute, for all that it hides."""
    yield from map(untracked.described, untracked.untracked(case.module, case.run, _is_result))


def _is_result(one: Hidden) -> bool:
    return isinstance(one.value, Tensor) and one.value.grad_fn is not None


@parameter_not_a_leaf.bad("scale is a plain attribute holding Tensor")
class ScaledParameter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(6)) * 0.1

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


@parameter_not_a_leaf.bad("scales is a plain list holding Tensor")
class MovesItsParameters(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scales = [nn.Parameter(torch.ones(6)).double().float() for _ in range(2)]

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scales[0] * self.scales[1]


@parameter_not_a_leaf.good
class ArithmeticFirst(nn.Module):
    """What forward computes and keeps is a result too, and no parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(0.1 * torch.ones(6))
        self.penalty = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        penalty = self.scale.square().sum()
        self.penalty = penalty.detach()
        return x * self.scale + penalty
