"""A class must not use the names of nn.Module's methods for something else.

## Why it matters
`def train(self, loader)` breaks `model.eval()`, which calls `self.train(False)`. `self.modules = []` breaks all that
walks the tree, and `self.half = dim // 2` breaks `.half()`: far from the line that did it.

## How it is tested
Methods of the classes in the tree that bear a name of nn.Module must accept the calls that torch, optimisers and
trainers make: `train(False)`, `eval()`, `parameters()`, `to("cpu")`, `state_dict()` ... and `apply` must hand the
module to the function that it is given. Attributes must not hide such a method, nor be registered under its name (a
warning), nor `training` hold anything but a bool. An override that takes more, with defaults, is fine.

## How to fix it
Give it another name: `fit` for `train`, `half_dim` for `half`, `blocks` for `modules`.

## How to reproduce it
    module.train(True)
    module.eval()
    module.to(torch.float64)
    [*module.parameters(), *module.modules(), *module.children()]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import overriding, source
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

OTHERWISE = {
    "train": "fit",
    "eval": "evaluate",
    "modules": "blocks",
    "children": "branches",
    "parameters": "settings",
    "type": "kind",
    "half": "half_width",
    "float": "as_float",
    "to": "converted",
    "apply": "applied",
    "training": "is_training",
}


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.OBEYS_MODES, after=())
def module_method_overridden(case: Case) -> Iterator[Finding]:
    """One finding a name and class."""
    seen = set()
    for one in overriding.taken(case.module):
        if (one.owner, one.name) not in seen:
            seen.add((one.owner, one.name))
            yield _finding(one)


@module_method_overridden.by_source
def read(cls: type) -> Iterator[Finding]:
    """What the class itself defines, or registers, under such a name; it may stumble over it while it is built."""
    found = (*overriding.methods(cls), *overriding.registered(cls))
    yield from (_finding(one) for one in found if one.owner is cls)


def _finding(one: overriding.Taken) -> Finding:
    file, line = source.member_line(one.owner, one.name)
    hidden = f"nn.Module.{one.name}" + ("" if one.name == "training" else "()")
    what = one.signature or f"{one.name} = {one.made or type(one.value).__name__}"
    how = f"cannot be called as {hidden}" if one.signature else f"takes the place of {hidden}"
    if not one.is_found:
        how = f"is out of reach: self.{one.name} is {hidden}, and functional_call and export stumble over it"
    return Finding(
        f"{one.owner.__name__}.{what} {how}",
        where=f"{one.path}.{one.name}" if one.path else one.name,
        file=file,
        line=line,
        fix=f"give it another name, such as {OTHERWISE.get(one.name, f'own_{one.name}')}",
        severity=None if one.is_found else Severity.WARNING,
    )


@module_method_overridden.bad("TrainsItself.train(self, loader) cannot be called as nn.Module.train()")
class TrainsItself(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def train(self, loader: list[Tensor]) -> None:  # type: ignore[override]
        for x in loader:
            self(x).sum().backward()

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


@module_method_overridden.bad("HalfWidth.half = int takes the place of nn.Module.half()")
class HalfWidth(nn.Module):
    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.half = width // 2  # type: ignore[assignment, method-assign]

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)[:, : self.half]


@module_method_overridden.bad("parameters = ParameterList is out of reach")
class RegistersUnderThatName(nn.Module):
    """What nn.Module keeps under a method's name is not found under it: the method is, which goes on working."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(6))
        vars(self)["parameters"] = [nn.Parameter(torch.zeros(6))]  # as `self.parameters = []` does
        self.parameters = nn.ParameterList(vars(self)["parameters"])  # type: ignore[method-assign]

    def forward(self, x: Tensor) -> Tensor:
        (shifts,) = self.children()
        return x * self.scale + next(iter(shifts.parameters()))


@module_method_overridden.bad("EvaluatesByApply.apply(self, x) cannot be called as nn.Module.apply()")
class EvaluatesByApply(nn.Module):
    """As many arguments as torch's own, and another meaning: `model.apply(init)` fails."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(6))

    def apply(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return self.scale * x.tanh()

    def forward(self, x: Tensor) -> Tensor:
        return self.apply(x)


@module_method_overridden.good
class InitialisesItself(nn.Module):
    """An `apply` that does more than torch's own."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.is_applied = False

    def apply(self, fn: Callable[[nn.Module], None]) -> InitialisesItself:
        self.is_applied = True
        return super().apply(fn)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


@module_method_overridden.good
class FreezesItsNorm(nn.Module):
    """An override that takes more, and one that is called without arguments by all who call it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.norm = nn.LayerNorm(6)

    def train(self, mode: bool = True, *, deep: bool = True) -> FreezesItsNorm:
        super().train(mode)
        self.norm.requires_grad_(deep)
        return self

    def parameters(self) -> Iterator[nn.Parameter]:  # type: ignore[override]
        return self.linear.parameters()

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.linear(x))
