"""A call must fit what it calls.

## Why it matters
`self.layers.insert(module)` lacks its index; a block is chosen by a flag and called with a keyword that only the other
one takes. It raises TypeError on the day that somebody comes to this line.

## How it is tested
The calls in the class's methods are read: of classes and functions that the file knows, also where a choice between two
of them is called, of the class's own methods, and of the methods of its containers. The arguments must fit the signature.
Calls with `*` or `**`, and those in a `try` or behind a question for a version, are left out.

## How to fix it
Give what is asked for, by its name.

## How to reproduce it
    import ast, inspect, textwrap
    tree = ast.parse(textwrap.dedent(inspect.getsource(type(module))))
    called = [ast.unparse(one) for one in ast.walk(tree) if isinstance(one, ast.Call)]
    assert where not in called, f"{where} does not fit what it calls"
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import fitting
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.PLAIN_CODE, after=())
def call_does_not_fit(case: Case) -> Iterator[Finding]:
    """Read it, whether the lines ran or not."""
    yield from _findings(type(case.module), case.module)


@call_does_not_fit.by_source
def calls_of(cls: type) -> Iterator[Finding]:
    """The same without a module, whose containers are then not known."""
    yield from _findings(cls, None)


def _findings(cls: type, module: nn.Module | None) -> Iterator[Finding]:
    for called in fitting.calls(cls, module):
        if why := fitting.misfit(called):
            yield Finding(
                f"{called.name}{called.signature.replace(return_annotation=called.signature.empty)} is called as "
                f"{ast.unparse(called.node)}: {why}",
                where=ast.unparse(called.node),
                file=called.file,
                line=called.node.lineno,
                fix="give what it asks for, by its name",
            )


class _Scales(nn.Module):
    def __init__(self, width: int, scale: float = 1.0) -> None:
        super().__init__()
        self.gain = nn.Parameter(nn.init.constant_(nn.Linear(1, width).weight.detach()[:, 0], scale))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * x


class _Shifts(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.shift = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.shift(x)


@call_does_not_fit.bad("_Shifts(width: 'int') is called as kind(width, scale=2.0)")
class ChoosesWithOneSignature(nn.Module):
    def __init__(self, width: int = 6, *, shifts: bool = False) -> None:
        super().__init__()
        kind = _Shifts if shifts else _Scales
        if shifts or width % 2 == 0:
            self.step = kind(width)
        else:
            self.step = kind(width, scale=2.0)  # type: ignore[call-arg]

    def forward(self, x: Tensor) -> Tensor:
        return self.step(x)


@call_does_not_fit.bad("is called as self.layers.insert(layer): missing a required argument: 'module'")
class InsertsNowhere(nn.Module):
    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(width, width)])

    def grow(self, layer: nn.Module) -> None:
        """Take in another layer."""
        self.layers.insert(layer)  # type: ignore[call-arg, arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return self.layers[0](x)


def remembered(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that takes an argument for itself."""

    @functools.wraps(function)
    def inner(*args: Any, fresh: bool = False, **kwargs: Any) -> Any:
        return function(*args, **kwargs) if fresh else function(*args, **kwargs) * 1.0

    return inner


@call_does_not_fit.good
class HasOpenMethods(nn.Module):
    """A decorator takes what its function does not, and heirs take what they like."""

    @remembered
    def doubled(self, x: Tensor) -> Tensor:
        return 2 * x

    def loss(self) -> Tensor:
        """What heirs make of three arguments."""
        raise NotImplementedError

    def total(self, x: Tensor) -> Tensor:
        """Of all losses."""
        return self.loss(x, x, x)  # type: ignore[call-arg]

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.doubled(x, fresh=True)
        return y


@call_does_not_fit.good
class ChoosesWithCare(nn.Module):
    """A choice is called with what both take, a name is given anew, and a failure is caught."""

    def __init__(self, width: int = 6, *, shifts: bool = False) -> None:
        super().__init__()
        kind = _Shifts if shifts else _Scales
        self.step = kind(width)
        other = _Scales
        other = _Shifts  # type: ignore[assignment]
        self.other = other(width)

    def scaled(self, x: Tensor, by: float = 1.0) -> Tensor:
        return self.step(x) * by

    def widened(self) -> nn.Module:
        """One with a scale, where this version knows it."""
        try:
            return _Shifts(6, 2.0)  # type: ignore[call-arg]
        except TypeError:
            return _Shifts(6)

    def forward(self, x: Tensor) -> Tensor:
        return self.scaled(self.other(x), by=2.0)
