"""Every constructor argument must have an effect.

## Why it matters
`Block(64, dropout=0.3)` trains without dropout when the constructor forgets the argument, or writes 0.1 in its place:
no error, only a model that is not the one you asked for. One in five real fixes of layer libraries is of this kind.

## How it is tested
The constructor's source is read and what becomes of each argument is followed: it must not be unread, replaced before
it is read, made a tensor that is then filled anew, only checked, kept in an attribute that nothing reads (`extra_repr`
does not count; a function made of it is no more than kept), or asked for in a choice whose branches are all the same;
what is given to a function of the user's that does nothing with it, or counts into a sum that nothing reads, is not
read. Of the values that a check accepts (those that it lists, or a constant), or that a `Literal` or an enumeration
lists, at most one may be left to the other cases: two that no comparison names do the same, unless one is a short or
another name of the other, or said to be an alias. Whatever may have an effect counts as one. Arguments that a comment
or docstring says are unused, and those that another class of the file uses whose constructor begins alike, are not
reported; that the size of the input is only kept (`in_dim`) is a note.

## How to fix it
Use the argument, or remove it from the signature. Where an interface demands it, say so: name it `_unused`, or add
a comment.

## How to reproduce it
    import dis
    steps = [step for step in dis.get_instructions(type(module).__init__) if step.opname.startswith("LOAD")]
    read = {name for step in steps for name in str(step.argval).replace("'", "").strip("()").split(", ")}
    assert where in read or not where, f"{where} is never read"
"""

from __future__ import annotations

import enum
import re
import types
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import choices, parameters, source
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType)

# The size of the input, which a layer may keep for others to ask: where it is needed, forward would fail without it.
OF_INPUT = re.compile(
    r"^(?:in|input)(?:_?(?:dims?|features|channels|size|shape|planes))?$|^[cd]_in$|^n_inputs$"
)


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.EVERY_ARGUMENT_MATTERS)
def ignored_argument(case: Case) -> Iterator[Finding]:
    """One finding for every argument that the source shows to be without effect."""
    yield from _findings(type(case.module), _functions(case.module))


@ignored_argument.by_source
def arguments_of(cls: Any) -> Iterator[Finding]:
    """The same of a class that was never built; abstract ones leave arguments to those that inherit from them."""
    is_abstract = source.forward(cls) is nn.Module.forward or "NotImplementedError" in source.text_of(cls)
    yield from () if is_abstract else _findings(cls, frozenset())


def _findings(cls: type, functions: frozenset[str]) -> Iterator[Finding]:
    for one in parameters.idle(cls, functions):
        yield Finding(
            f"argument {one.name} of {cls.__name__} changes nothing: it is {one.how}",
            where=one.name,
            file=parameters.file(cls),
            line=one.line,
            fix=f"use {one.name}, or remove it from the signature",
            severity=Severity.NOTE if OF_INPUT.search(one.name) and "kept" in one.how else None,
        )
    for choice in choices.alike(cls):
        values = " and ".join(str(v) if isinstance(v, enum.Enum) else repr(v) for v in choice.values)
        yield Finding(
            f"argument {choice.name} of {cls.__name__}: {values} do the same, as no comparison tells them apart",
            where=choice.name,
            file=parameters.file(cls),
            line=choice.line,
            fix=f"give each value of {choice.name} its branch, spelled as in the check",
        )


def _functions(module: nn.Module) -> frozenset[str]:
    """The attributes that hold a function, as an activation."""
    return frozenset(name for name, value in vars(module).items() if isinstance(value, FUNCTIONS))


@ignored_argument.bad("argument dropout of ForgetsItsDropout changes nothing: it is never read")
class ForgetsItsDropout(nn.Module):
    def __init__(self, width: int = 6, dropout: float = 0.5) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.linear(x))


@ignored_argument.bad("kept in self.eps, which nothing reads")
class KeepsItsEpsilon(nn.Module):
    def __init__(self, width: int = 6, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt()


@ignored_argument.bad("asked for, but every answer does the same")
class TwiceTheSameActivation(nn.Module):
    def __init__(self, width: int = 6, activation: str = "gelu") -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        if activation == "relu":  # noqa: SIM114 - a slip of the clipboard
            self.act = nn.ReLU()
        elif activation == "gelu":
            self.act = nn.ReLU()
        else:
            raise ValueError(f"activation must be relu or gelu, not {activation!r}")

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.linear(x))


@ignored_argument.bad("'mean' and 'max' do the same")
class MisspellsItsPooling(nn.Module):
    def __init__(self, pooling: str = "mean") -> None:
        super().__init__()
        if pooling not in ("mean", "max", "first"):
            raise ValueError(f"pooling must be mean, max or first, not {pooling!r}")
        self.pooling = pooling

    def forward(self, x: Tensor) -> Tensor:
        if self.pooling == "maximum":
            return x.amax(-1)
        return x[..., 0] if self.pooling == "first" else x.mean(-1)


@ignored_argument.good
class PoolsAsItIsTold(nn.Module):
    """Two names of one thing, said to be so, and one value that is left to the last case."""

    def __init__(self, pooling: str = "mean") -> None:
        super().__init__()
        if pooling not in ("mean", "max", "peak"):
            raise ValueError(f"pooling must be mean, max or peak, not {pooling!r}")
        self.pooling = pooling

    def forward(self, x: Tensor) -> Tensor:
        return x.amax(-1) if self.pooling in ("max", "peak") else x.mean(-1)


def by_name(name: str) -> Callable[[Tensor], Tensor]:
    """A function that an argument names."""
    functions: dict[str, Callable[[Tensor], Tensor]] = {"relu": torch.relu, "tanh": torch.tanh}
    return functions[name]


@ignored_argument.bad("argument chosen of AlwaysRectifies changes nothing: it is kept in self.act")
class AlwaysRectifies(nn.Module):
    """The function is chosen, and another one is called."""

    def __init__(self, width: int = 6, chosen: str = "tanh") -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.act = by_name(chosen)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(self.linear(x))


@ignored_argument.good
class ActivatesAsToldBelow(nn.Module):
    """The function is picked, and handed to who calls it."""

    def __init__(self, width: int = 6, picked: str = "tanh") -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.act = by_name(picked)

    def forward(self, x: Tensor) -> Tensor:
        return applied(self.act, self.linear(x))


def applied(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """What the function makes of x."""
    return function(x)


def softened(x: Tensor, slope: float = 0.1, kind: str = "leaky") -> Tensor:
    """Ignores its kind."""
    return nn.functional.leaky_relu(x, slope)


@ignored_argument.bad("argument kind of HandsItToNobody changes nothing: it is kept in self.kind")
class HandsItToNobody(nn.Module):
    def __init__(self, width: int = 6, slope: float = 0.1, kind: str = "leaky") -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.slope = slope
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        return softened(self.linear(x), self.slope, kind=self.kind)


@ignored_argument.bad("argument penalty of DropsASum changes nothing: it is kept in self.penalty")
class DropsASum(nn.Module):
    def __init__(self, width: int = 6, penalty: float = 0.1) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.penalty = penalty

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.linear(x)
        size = y.square().mean()
        total = size * self.penalty  # noqa: F841 - the slip
        return y, size


class _UsesFlash(nn.Module):
    def __init__(self, *, flash: bool = True) -> None:
        super().__init__()
        self.flash = flash

    def forward(self, x: Tensor) -> Tensor:
        return x if self.flash else 2 * x


@ignored_argument.bad("argument flash of KeepsItForItself changes nothing: it is kept in self.flash")
class KeepsItForItself(nn.Module):
    def __init__(self, width: int = 6, *, flash: bool = True) -> None:
        super().__init__()
        self.flash = flash
        self.linear, self.inner = nn.Linear(width, width), _UsesFlash()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(self.linear(x))


def stretched(x: Tensor, by: float) -> Tensor:
    """By way of a variable."""
    scale = 1 + by
    return x * scale


@ignored_argument.good
class HandsItOn(nn.Module):
    """To a function that uses it in a roundabout way."""

    def __init__(self, width: int = 6, by: float = 0.5) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.by = by

    def forward(self, x: Tensor) -> Tensor:
        return stretched(self.linear(x), by=self.by)


@ignored_argument.good
class TellsOthers(nn.Module):
    """An argument that only describes, and one that is said to be unused."""

    def __init__(self, width: int = 6, heads: int = 2, layout: str = "bhn") -> None:
        """`layout` is ignored, for compatibility with older checkpoints."""
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.heads = heads

    @property
    def width_of_head(self) -> int:
        return self.linear.in_features // self.heads

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


@ignored_argument.good
class LimitsItsLength(nn.Module):
    """Nothing changes as long as the limit is not reached, nor without the second branch."""

    def __init__(self, limit: int = 512, *, branch: bool = False, scaled: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.branch = nn.Linear(6, 6) if branch else None
        self.limit, self.scaled = limit, scaled

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] > self.limit:
            raise ValueError(f"at most {self.limit} features, not {x.shape[-1]}")
        y = self.linear(x)
        if self.branch is not None:
            y = y + (self.branch(x) / 2 if self.scaled else self.branch(x))
        return y
