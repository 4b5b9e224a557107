"""A function in an attribute must not hold on to the module that it was made in.

## Why it matters
`self.mix = lambda x: self.linear(x)` closes over this very module. `copy.deepcopy` copies a function by reference: the
copy (an averaged model, a target network, a replica) goes on to call the original's weights, without an error.

## How it is tested
Where attributes hold functions, the module is deep-copied and the copy is called: its output must depend on its own
parameters and on none of the original's.

## How to fix it
Make it a method: `def mix(self, x): return self.linear(x)`.

## How to reproduce it
    import copy
    twin = copy.deepcopy(module)
    with torch.no_grad():
        [parameter.zero_() for parameter in twin.parameters()]
    zeroed = twin(*args, **kwargs)
    [parameter.data.fill_(9.0) for parameter in module.parameters()]
    assert torch.equal(zeroed, twin(*args, **kwargs)), "a copy still computes with the weights of the original"
"""

from __future__ import annotations

import copy
import types
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import leaves, source
from layersmith.probe.registration import OWN, enclosed
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.STATE_ROUND_TRIP)
def lambda_attribute(case: Case) -> Iterator[Finding]:
    """Copy it, call the copy, and see whose parameters it used."""
    held = [*_functions(case.module)]
    if not held:
        return
    try:
        other = copy.deepcopy(case.module)
        output = Case(case.subject, other, case.inputs, case.seed).run()
    except Exception:  # noqa: BLE001 - that it cannot be copied is another rule's business
        return
    own = {id(parameter) for parameter in other.parameters()}
    reached = leaves.leaves_behind(leaves.tensors_within(output))
    for path, attribute, owner, module in held:
        used = [name for name, p in module.named_parameters() if id(p) in reached.keys() - own]
        if used:
            yield _finding(path, attribute, owner, used)
            return


def _functions(module: nn.Module) -> Iterator[tuple[str, str, type, nn.Module]]:
    """Every attribute with a function that closes over its module: path, attribute, owner, and that module."""
    for prefix, part in module.named_modules():
        for name, value in vars(part).items():
            functions = [value] if not isinstance(value, dict | list | tuple) else _members(value)
            for one in functions if name not in OWN else ():
                for held in _closed_over(one):
                    if type(held) is type(part):
                        yield (f"{prefix}.{name}" if prefix else name), name, type(part), held


def _closed_over(function: object) -> list[nn.Module]:
    held = enclosed(function) if isinstance(function, types.FunctionType) else []
    return [one for _, one in held if isinstance(one, nn.Module)]


def _members(value: dict[Any, Any] | list[Any] | tuple[Any, ...]) -> list[Any]:
    return [*value.values()] if isinstance(value, dict) else [*value]


def _finding(path: str, attribute: str, owner: type, used: list[str]) -> Finding:
    file, line = source.attribute_line(owner, attribute)
    return Finding(
        f"{path} holds on to the module it was made in: a deep copy goes on to use the original's {used[0]}",
        where=path,
        file=file,
        line=line,
        fix=f"make {attribute} a method",
        numbers={"parameters": len(used)},
    )


@lambda_attribute.bad("mix holds on to the module it was made in")
class LambdaOverSelf(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.mix = lambda x: self.linear(x).relu()

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(x)


@lambda_attribute.bad("steps holds on to the module it was made in")
class FunctionsInADict(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(6))

        def scaled(x: Tensor) -> Tensor:
            return x * self.gain

        self.steps: dict[str, Any] = {"scale": scaled, "relu": nn.functional.relu}

    def forward(self, x: Tensor) -> Tensor:
        return self.steps["relu"](self.steps["scale"](x))


@lambda_attribute.good
class BoundMethod(nn.Module):
    """A bound method goes with its module."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.mix = self.mixed

    def mixed(self, x: Tensor) -> Tensor:
        return self.linear(x).relu()

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(x)
