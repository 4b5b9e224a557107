"""Every submodule with trainable parameters that forward uses must be registered.

## Why it matters
A module in a plain list, dict, tuple or closure is missing from `parameters()`: the optimizer never updates it. It is
missing from `state_dict()`, `.to(device)` and `train()` as well.

## How it is tested
Attributes, those of the class included, are searched with the lists, dicts, functions and plain objects in them for
modules that nn.Module does not know of; they are reported when a gradient reaches them from the output. References
to what is registered elsewhere, and frozen modules that are hidden on purpose, are not.

## How to fix it
`nn.ModuleList([...])`, `nn.ModuleDict({...})` instead of list and dict; an attribute of the module instead of a
variable that a function closes over.

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

from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import untracked
from layersmith.probe.registration import Hidden
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.REGISTERED)
def unregistered_module(case: Case) -> Iterator[Finding]:
    """One finding an attribute, for all that it hides."""
    yield from map(untracked.described, untracked.untracked(case.module, case.run, _is_module))


def _is_module(one: Hidden) -> bool:
    return isinstance(one.value, nn.Module)


@unregistered_module.bad("layers is a plain list holding Linear")
class LayersInAList(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Linear(6, 6), nn.Linear(6, 6)]

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


@unregistered_module.bad("layer is a plain function holding Linear")
class LayerInAFunction(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6).forward

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


@unregistered_module.bad("linear is a plain attribute holding Linear")
class LayerOfTheClass(nn.Module):
    linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


@unregistered_module.good
class LayersInAModuleList(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(6, 6), nn.Linear(6, 6)])
        self.backwards = [*self.layers][::-1]  # only references to what is registered

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.backwards:
            x = layer(x)
        return x
