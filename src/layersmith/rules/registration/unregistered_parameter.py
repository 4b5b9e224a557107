"""Every trainable tensor that forward uses must be registered.

## Why it matters
A parameter in a plain list or dict is missing from `parameters()`: the optimizer never updates it. It is missing
from `state_dict()` and `.to(device)` as well.

## How it is tested
Attributes are searched, with the lists, dicts, functions and plain objects in them, for tensors that ask for a gradient
and that nn.Module does not know of. They are reported when a gradient reaches them from the output.

## How to fix it
`nn.ParameterList` and `nn.ParameterDict` instead of list and dict; `nn.Parameter(t)` instead of
`t.requires_grad_()`, assigned to an attribute of the module.

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
from layersmith.promises import Promise, contract
from layersmith.rule import rule
from layersmith.subject import Case


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.REGISTERED)
def unregistered_parameter(case: Case) -> Iterator[Finding]:
    """One finding an attribute, for all that it hides."""
    yield from map(untracked.described, untracked.untracked(case.module, case.run, _is_leaf))


def _is_leaf(one: Hidden) -> bool:
    return isinstance(one.value, Tensor) and one.value.grad_fn is None


@unregistered_parameter.bad("scales is a plain list holding Parameter")
class ScalesInAList(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scales = [nn.Parameter(torch.ones(6)), nn.Parameter(torch.ones(6))]

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scales[0] * self.scales[1]


@unregistered_parameter.bad("weight is a plain attribute holding Tensor")
class WantsAGradient(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.ones(6, requires_grad=True)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


@unregistered_parameter.good
@contract(waive={"functional-call-fails": "its second reference is read once, at the start"})
class ScalesInAParameterList(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scales = nn.ParameterList([nn.Parameter(torch.ones(6)), nn.Parameter(torch.ones(6))])
        self.first = [self.scales[0]]  # only a reference to what is registered

    def forward(self, x: Tensor) -> Tensor:
        return x * self.first[0] * self.scales[1]
