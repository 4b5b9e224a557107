"""Every trainable tensor that forward uses must be registered.

## Why it matters
A module or parameter in a plain list, dict or attribute is missing from `parameters()`: the optimizer never
updates it. It is missing from `state_dict()` and `.to(device)` as well.

## How it is tested
Attributes are searched, with the lists, dicts, functions and plain objects in them, for modules and tensors
that nn.Module does not know of. Those that ask for a gradient are reported when a gradient reaches them from
the output, and so is an `nn.Parameter` that forward itself makes. References to what is registered elsewhere,
and frozen modules that are hidden on purpose, are not reported.

## How to fix it
`nn.ModuleList`, `nn.ModuleDict`, `nn.ParameterList` instead of list and dict. For an attribute: assign the
`nn.Parameter` itself; `nn.Parameter(t) * 0.1` and `nn.Parameter(t).to(device)` are plain tensors again.

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

import re
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import leaves, reading, source
from layersmith.probe.registration import Hidden, hidden
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

INSTEAD = {"list": "nn.{}List([...])", "tuple": "nn.{}List([...])", "dict": "nn.{}Dict({{...}})"}


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.REGISTERED)
def unregistered_parameter(case: Case) -> Iterator[Finding]:
    """One finding an attribute, for all that it hides; and one for what forward makes anew at every call."""
    found = [one for one in hidden(case.module) if _trainable(one.value)]
    registered = {id(parameter) for parameter in case.module.parameters()}
    reached = _leaves(case)
    attributes: dict[tuple[int, str], list[Hidden]] = {}
    for one in found:
        if any(id(tensor) in reached for tensor in _trainable(one.value)):
            attributes.setdefault((id(one.owner), one.attribute), []).append(one)
    yield from (_finding(group) for group in attributes.values())
    hidden_tensors = [tensor for one in found for tensor in _trainable(one.value)]
    known = registered | leaves.leaves_behind(hidden_tensors).keys()
    made = [leaf for leaf in reached.values() if isinstance(leaf, nn.Parameter) and id(leaf) not in known]
    if made:
        yield _made_in_forward(case.module, made)


def _trainable(value: Tensor | nn.Module) -> list[Tensor]:
    tensors = [value] if isinstance(value, Tensor) else [*value.parameters()]
    return [tensor for tensor in tensors if tensor.requires_grad]


def _leaves(case: Case) -> dict[int, Tensor]:
    """What the output depends on and a gradient reaches, by id: leaves, and hidden results of operations."""
    results = [t for one in hidden(case.module) for t in _trainable(one.value) if t.grad_fn is not None]
    case.module.train()
    outputs = leaves.tensors_within(case.run())
    nodes = leaves.nodes_behind(outputs) if results else set()
    return leaves.leaves_behind(outputs) | {id(t): t for t in results if t.grad_fn in nodes}


def _finding(group: list[Hidden]) -> Finding:
    first = group[0]
    kinds = sorted({type(one.value).__name__ for one in group})
    count = sum(tensor.numel() for one in group for tensor in _trainable(one.value))
    file, line = source.attribute_line(first.owner_class, first.attribute)
    where = re.split(r"[\[(<]", first.path)[0].removesuffix(".__self__")
    holder = f"a plain {first.container}" if first.container else "a plain attribute"
    kind = "Module" if isinstance(first.value, nn.Module) else "Parameter"
    instead = INSTEAD.get(first.container)
    return Finding(
        f"{where} is {holder} holding {', '.join(kinds)}: {count} trainable numbers that parameters() does not list",
        where=where,
        file=file,
        line=line,
        fix=f"self.{first.attribute} = {instead.format(kind)}" if instead else _assigned(first, kind),
        numbers={"trainable_numbers": count},
    )


def _assigned(one: Hidden, kind: str) -> str:
    """What to write where no container is to blame."""
    if one.container:
        return (
            f"assign the {type(one.value).__name__} to an attribute of its own, besides self.{one.attribute}"
        )
    return f"self.{one.attribute} = nn.{kind}(...), with nothing applied to it"


def _made_in_forward(module: nn.Module, made: Sequence[Tensor]) -> Finding:
    file, line = reading.construction_line(module)
    count = sum(tensor.numel() for tensor in made)
    return Finding(
        f"forward makes {len(made)} new nn.Parameter at every call: {count} trainable numbers, drawn anew each time",
        file=file,
        line=line,
        fix="make the layer or parameter in __init__, as an attribute",
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


@unregistered_parameter.bad("layer is a plain function holding Linear")
class LayerInAFunction(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6).forward

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


@unregistered_parameter.bad("forward makes 2 new nn.Parameter")
class LayerMadeInForward(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.Linear(6, 6)(x)


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
