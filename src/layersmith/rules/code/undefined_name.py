"""Every name and every attribute that the class uses must be defined.

## Why it matters
The branch that nobody ran holds a name that is not there: an import that was forgotten, `self.head_dim` where only
`head_dim` is set, `running_Var` for `running_var`. It raises on the day that somebody switches the option on.

## How it is tested
The code of the methods, and of the functions of the same file that they call, is read. A global name is reported
where neither the imported file, nor anything in its text, nor Python itself defines it; an attribute of `self` where the
module hasn't got it and no file of the package, nor any beside it, ever sets or names it. What stands in a `try`
that catches the failure, or behind a question for a version, is not. Also reported is an attribute that the constructor
sets under a flag only, and that forward reads under no condition.

## How to fix it
Import or spell the name; set the attribute in the constructor.

## How to reproduce it
    import dis, sys, builtins
    known = {**vars(builtins), **vars(sys.modules[type(module).__module__]), **vars(type(module)), **vars(module)}
    parts = (module._parameters, module._buffers, module._modules)
    is_known = not where or where in known or any(where in part for part in parts)
    assert is_known, f"{where} is nowhere defined"
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import undefined, unset
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.PLAIN_CODE, after=())
def undefined_name(case: Case) -> Iterator[Finding]:
    """One finding for every name, at its first use."""
    yield from _findings(type(case.module), case.module)


@undefined_name.by_source
def names_of(cls: type) -> Iterator[Finding]:
    """The same of a class that was never built."""
    yield from _findings(cls, None)


def _findings(cls: type, module: nn.Module | None) -> Iterator[Finding]:
    found = [*_global(cls)]
    yield from found
    told = {one.where for one in found}
    for one in undefined.attributes(cls, module):
        if one.name not in told:
            told.add(one.name)
            said = f"nothing ever sets self.{one.name}: {cls.__name__} raises AttributeError where it comes to this line"
            yield _finding(
                one, said, f"set self.{one.name} in the constructor, or mend its name", Severity.WARNING
            )


def _global(cls: type) -> Iterator[Finding]:
    """The global names among them, each once; and what is set under a condition only."""
    for one in {one.name: one for one in reversed([*undefined.names(cls)])}.values():
        said = f"{one.name} is not defined: {cls.__name__} raises NameError where it comes to this line"
        yield _finding(one, said, f"import or define {one.name}", Severity.ERROR)
    for one in {one.name: one for one in unset.unset(cls)}.values():
        said = (
            f"self.{one.name} is set under a condition only, and {cls.__name__}.forward reads it under none"
        )
        yield _finding(one, said, f"set self.{one.name} = None otherwise, and ask for it", Severity.WARNING)


def _finding(one: undefined.Unknown, said: str, fix: str, severity: Severity) -> Finding:
    return Finding(said, where=one.name, file=one.file, line=one.line, fix=fix, severity=severity)


@undefined_name.bad("padded is not defined")
class ForgotAnImport(nn.Module):
    def __init__(self, width: int = 6, rows: int = 0) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.rows = rows

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        return padded(y, self.rows) if self.rows > 0 else y  # type: ignore[name-defined]  # noqa: F821


@undefined_name.bad("nothing ever sets self.half_width")
class ForgotSelf(nn.Module):
    def __init__(self, width: int = 6, parts: int = 1) -> None:
        super().__init__()
        half_width = width // 2
        self.linear = nn.Linear(width, 2 * half_width)
        self.parts = parts

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        return y if self.parts == 1 else y[..., : self.half_width]


@undefined_name.bad("self.head is set under a condition only, and ForgetsItsFlag.forward reads it under none")
class ForgetsItsFlag(nn.Module):
    def __init__(self, width: int = 6, *, has_head: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        if has_head:
            self.head = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        return self.head(y)


@undefined_name.good
class AsksForItsFlag(nn.Module):
    """Three that are read only where they are there, or set otherwise before."""

    def __init__(self, width: int = 6, *, has_head: bool = True, has_tail: bool = True) -> None:
        super().__init__()
        self.linear, self.has_head = nn.Linear(width, width), has_head
        self.tail = nn.Identity()
        if has_tail:
            self.tail = nn.Linear(width, width)  # type: ignore[assignment]
        if has_head:
            self.head = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.tail(self.linear(x))
        if not self.has_head:
            return y
        return self.head(y)


@undefined_name.good
class KeepsItPrivate(nn.Module):
    """Python keeps what begins with two underscores under another name."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.__make_table(width)

    def __make_table(self, width: int) -> None:
        self.register_buffer("table", torch.linspace(0, 1, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.table


@undefined_name.good
class DefinesLater(nn.Module):
    """Set in a method, registered under a name, asked for first, and a name that an import may lack."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.register_buffer("shift", torch.zeros(width))
        self.is_filled = False

    def fill(self, value: float) -> None:
        self.filled = torch.full((6,), value)
        self.is_filled = True

    def fused(self, x: Tensor) -> Tensor:
        try:
            return fused_shift(x)  # type: ignore[name-defined]
        except NameError:
            return x

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x) + self.shift
        if hasattr(self, "scale"):
            y = y * self.scale
        return y + self.filled if self.is_filled else y


@undefined_name.good
class ReadsItsMixin(nn.Module):
    """A class attribute, an annotation, and what only a subclass sets."""

    depth = 2
    kind: str

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def described(self) -> str:
        return f"{self.kind} of {self.depth} by {self.extra}"

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


class SetsWhatItsBaseReads(ReadsItsMixin):
    def __init__(self) -> None:
        super().__init__()
        self.extra = 3
