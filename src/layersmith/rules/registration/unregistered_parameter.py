"""Every trainable tensor that forward uses must be registered.

## Why it matters
A module or parameter in a plain list, dict or attribute is missing from `parameters()`: the optimizer never
updates it. It is missing from `state_dict()` and `.to(device)` as well.

## How it is tested
Attributes are searched for modules and tensors that nn.Module does not know of. Those that ask for a
gradient are reported when a gradient reaches them from the output. References to what is registered
elsewhere, and frozen modules that are hidden on purpose, are not reported.

## How to fix it
`nn.ModuleList`, `nn.ModuleDict`, `nn.ParameterList` instead of list and dict. For an attribute: assign the
`nn.Parameter` itself; `nn.Parameter(t) * 0.1` and `nn.Parameter(t).to(device)` are plain tensors again.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import source, tree
from layersmith.probe.registration import Hidden, hidden
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

INSTEAD = {"list": "nn.{}List([...])", "tuple": "nn.{}List([...])", "dict": "nn.{}Dict({{...}})"}


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.REGISTERED)
def unregistered_parameter(case: Case) -> Iterator[Finding]:
    """One finding an attribute, for all that it hides."""
    found = [one for one in hidden(case.module) if _trainable(one.value)]
    reached = _reached(case, [tensor for one in found for tensor in _trainable(one.value)])
    attributes: dict[tuple[int, str], list[Hidden]] = {}
    for one in found:
        if any(id(tensor) in reached for tensor in _trainable(one.value)):
            attributes.setdefault((id(one.owner), one.attribute), []).append(one)
    yield from (_finding(group) for group in attributes.values())


def _trainable(value: Tensor | nn.Module) -> list[Tensor]:
    tensors = [value] if isinstance(value, Tensor) else [*value.parameters()]
    return [tensor for tensor in tensors if tensor.requires_grad]


def _reached(case: Case, candidates: list[Tensor]) -> set[int]:
    """The ids of the tensors to which a gradient flows from the output."""
    case.module.train()
    outputs = [y for y in tree.tensors(case.run()) if y.requires_grad] if candidates else []
    if not outputs:
        return set()
    gradients = torch.autograd.grad([tree.total(outputs)], candidates, allow_unused=True)
    return {id(t) for t, gradient in zip(candidates, gradients, strict=True) if gradient is not None}


def _finding(group: list[Hidden]) -> Finding:
    first = group[0]
    kinds = sorted({type(one.value).__name__ for one in group})
    count = sum(tensor.numel() for one in group for tensor in _trainable(one.value))
    file, line = source.attribute_line(type(first.owner), first.attribute)
    where = first.path.partition("[")[0]
    holder = f"a plain {first.container}" if first.container else "a plain attribute"
    kind = "Module" if isinstance(first.value, nn.Module) else "Parameter"
    return Finding(
        f"{where} is {holder} holding {', '.join(kinds)}: {count} trainable numbers that parameters() does not list",
        where=where,
        file=file,
        line=line,
        fix=f"self.{first.attribute} = " + INSTEAD.get(first.container, "nn.{}(...)").format(kind),
        numbers={"trainable_numbers": count},
    )


@unregistered_parameter.bad("layers is a plain list holding Linear")
class LayersInAList(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Linear(6, 6), nn.Linear(6, 6)]

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


@unregistered_parameter.bad("scale is a plain attribute holding Tensor")
class ScaledParameter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(6)) * 0.1

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


@unregistered_parameter.good
class LayersInAModuleList(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(6, 6), nn.Linear(6, 6)])
        self.backwards = [*self.layers][::-1]  # only references to what is registered

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.backwards:
            x = layer(x)
        return x
