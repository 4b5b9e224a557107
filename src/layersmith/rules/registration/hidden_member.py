"""A method and an attribute of one class must not bear one name.

## Why it matters
After `self.scale = scale` the method `scale()` is gone: who calls it gets "'bool' object is not callable", or, where a
condition asks, the branch without it. A submodule fares the other way round: `self.norm` is the method, and the layer
`norm` is in the state dict and never found.

## How it is tested
The attributes of every module in the tree are compared with the methods of its class: one that cannot be called hides a
method, and a method hides a submodule, parameter or buffer. One function in another's place is fine.

## How to fix it
Rename one of them.

## How to reproduce it
    held = {**vars(module), **module._modules, **module._parameters, **module._buffers}
    both = [name for name in held if callable(getattr(type(module), name, None)) and not callable(held[name])]
    layers = [name for name in module._modules if hasattr(type(module), name)]
    assert not both + layers, f"{both + layers} are methods and attributes"
"""

from __future__ import annotations

from collections.abc import Iterator
from types import FunctionType

from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import source
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.REGISTERED, after=("module-method-overridden",))
def hidden_member(case: Case) -> Iterator[Finding]:
    """One finding a name and class."""
    seen = set()
    for path, part in case.module.named_modules():
        cls: type = type(part)
        for name, said in [] if source.is_torchs(cls.__module__) else _hidden(part):
            if (cls, name) not in seen:
                seen.add((cls, name))
                file, line = source.attribute_line(cls, name)
                where = f"{path}.{name}" if path else name
                yield Finding(said, where=where, file=file, line=line, fix=f"rename one of both: own_{name}")


def _hidden(part: nn.Module) -> Iterator[tuple[str, str]]:
    """The names that are a method of the user's and something else, with what hides which."""
    cls = type(part).__name__
    methods = {
        name
        for base in type(part).__mro__
        if not source.is_torchs(base.__module__)
        for name, value in vars(base).items()
        if isinstance(value, FunctionType)
    }
    for name, value in vars(part).items():
        if name in methods and not callable(value):
            yield name, f"the attribute {name} of {cls}, a {type(value).__name__}, hides the method {name}()"
    kinds = (("submodule", part._modules), ("parameter", part._parameters), ("buffer", part._buffers))  # noqa: SLF001 - they are hidden
    for kind, held in kinds:
        for name in [*held]:
            if name in methods:
                yield name, f"the method {name}() of {cls} hides the {kind} of that name"


@hidden_member.bad("the attribute scale of ScalesByName, a bool, hides the method scale()")
class ScalesByName(nn.Module):
    def __init__(self, *, scale: bool = True) -> None:
        super().__init__()
        self.scale = scale  # type: ignore[method-assign,assignment]

    def scale(self, x: Tensor) -> Tensor:
        return x / x.shape[-1] ** 0.5

    def forward(self, x: Tensor) -> Tensor:
        return self.scale(x) if callable(self.scale) else x


@hidden_member.bad("the method scorer() of ScoresTwice hides the submodule of that name")
class ScoresTwice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scorer = nn.Tanh()  # type: ignore[method-assign]

    def scorer(self, x: Tensor) -> Tensor:
        return x * 2

    def forward(self, x: Tensor) -> Tensor:
        return self.scorer(x)


@hidden_member.good
class ChoosesItsMethod(nn.Module):
    """Which of two methods takes the name is decided once."""

    def __init__(self, *, is_fast: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        if not is_fast:
            self.mixed = self.mixed_slowly  # type: ignore[method-assign]

    def mixed(self, x: Tensor) -> Tensor:
        return self.linear(x)

    def mixed_slowly(self, x: Tensor) -> Tensor:
        return x @ self.linear.weight.T + self.linear.bias

    def forward(self, x: Tensor) -> Tensor:
        return self.mixed(x)
