r"""Every argument of the constructor must make a difference.

## Why it matters
`Block(64, dropout=0.5)` that never drops, `bias=False` with a bias all the same: nothing fails, and every experiment
that varies the argument compares a model with itself. It is the commonest slip in layers that people publish: a literal
where the argument was meant, or an attribute that is set and forgotten.

## How it is tested
The constructor is read: a parameter is ignored when every use of it only checks it, or keeps it where no code of its
file reads it. Where the way to build the class is known, it is also built with another value: if that changes its
structure or its output after all, nothing is said. Where another class of the file has the very same parameters, an
interface may ask for it: that is a note. Passed over are names that are no business of the computation
(`name`, `verbose`), those that begin with an underscore, those that the documentation calls unused or deprecated, and
those of a base class's constructor.

## How to fix it
Use it where the literal stands, or take it out of the signature.

## How to reproduce it
    import dis
    steps = dis.get_instructions(type(module).__init__)
    read = {step.argval for step in steps if step.opname.startswith("LOAD")}
    assert where in read or not where, f"{where} is never read"
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import closeness, parameters
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

BESIDE = re.compile(r"^(_.*|name|verbose|debug|device|dtype|seed|kwargs|args|unused.*|.*deprecated.*|log.*)$")
UNUSED = r"(unused|not used|ignored|no effect|deprecat|compatib|legacy|reserved|placeholder|kept for|has no)"
OTHERS: dict[type, Any] = {bool: lambda v: not v, int: lambda v: v + 1, float: lambda v: v / 2 + 0.25}


@rule(severity=Severity.WARNING, since="0.2", promise=Promise.EVERY_ARGUMENT_MATTERS, after=())
def ignored_argument(case: Case) -> Iterator[Finding]:
    """Report each idle parameter of each class of the user's in the tree, once a class."""
    classes = dict.fromkeys(type(part) for part in case.module.modules())
    own = [cls for cls in classes if not cls.__module__.startswith("torch.")]
    if not own:
        raise NotApplicable("all of its classes are torch's own")
    for cls in own:
        for one in parameters.idle(cls):
            if not (_is_beside(cls, one.name) or _matters(case, cls, one.name)):
                yield _finding(cls, one)


def _is_beside(cls: type, name: str) -> bool:
    """Whether the name, the documentation, or a base class says why it has no effect."""
    if BESIDE.match(name):
        return True
    inherited = (base for base in cls.__mro__[1:] if base is not nn.Module and "__init__" in vars(base))
    if any(
        name in inspect.signature(vars(base)["__init__"]).parameters
        for base in inherited
        if base is not object
    ):
        return True
    text = "\n".join(filter(None, (cls.__doc__, getattr(cls, "__init__").__doc__, _comment(cls, name))))  # noqa: B009
    return re.search(rf"\b{re.escape(name)}\b.{{0,120}}{UNUSED}", text, re.IGNORECASE | re.DOTALL) is not None


def _comment(cls: type, name: str) -> str:
    """The line of the signature that has the parameter, with its comment."""
    try:
        lines = inspect.getsource(vars(cls)["__init__"]).splitlines()
    except (OSError, TypeError, KeyError):
        return ""
    return next((line for line in lines if re.match(rf"\s*{re.escape(name)}\b.*#", line)), "")


def _matters(case: Case, cls: type, name: str) -> bool:
    """Whether another value builds another module or gives another output; False where that cannot be tried."""
    construction = case.subject.construction
    if construction is None or construction.cls is not cls:
        return False
    default = inspect.signature(cls).parameters[name].default
    value = construction.arguments.get(name, default)
    if type(value) not in OTHERS:
        return False
    try:
        built = []
        for changes in ({}, {name: OTHERS[type(value)](value)}):
            torch.manual_seed(case.seed)
            module = construction.build(**changes).eval()
            built.append((str(module), module.state_dict(), case.inputs.call(module)))
        return built[0][0] != built[1][0] or bool(closeness.gaps(built[0][1:], built[1][1:]))
    except Exception:  # noqa: BLE001 - that it fails with the other value shows that it is used
        return True


def _finding(cls: type, one: parameters.Idle) -> Finding:
    return Finding(
        f"{cls.__name__}({one.name}=...) changes nothing: {one.name} {one.how}",
        where=one.name,
        file=one.file,
        line=one.line,
        fix=f"use {one.name} where it was meant, or take it out of the signature",
        severity=Severity.NOTE if parameters.has_twin(cls) else None,
    )


@ignored_argument.bad("dropout=...) changes nothing: dropout is never read")
class DropsAsItLikes(nn.Module):
    def __init__(self, dropout: float = 0.5) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.linear(x))


@ignored_argument.bad("eps is kept in self.tolerance, which nothing reads")
class ForgetsItsEpsilon(nn.Module):
    def __init__(self, eps: float = 1e-3) -> None:
        super().__init__()
        self.tolerance = eps
        self.weight = nn.Parameter(torch.ones(6))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


@ignored_argument.bad("heads is only checked")
class ChecksItsHeads(nn.Module):
    def __init__(self, heads: int = 2) -> None:
        super().__init__()
        if 6 % heads:
            raise ValueError("heads must divide 6")
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


@ignored_argument.good
class UsesAll(nn.Module):
    """`verbose` is no business of the computation, `legacy` is said to be unused, `scale` is read by forward."""

    def __init__(
        self,
        scale: float = 2.0,
        verbose: bool = False,
        legacy: int = 0,  # unused, kept for old checkpoints
    ) -> None:
        super().__init__()
        self.scale = scale
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.linear(x)
