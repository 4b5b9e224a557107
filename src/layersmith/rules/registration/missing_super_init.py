"""A constructor must call `super().__init__()` before it assigns modules and parameters.

## Why it matters
nn.Module keeps its parameters, submodules and hooks in dicts that its own `__init__` makes. Without them the class cannot
be built: "cannot assign module before Module.__init__() call". Called too late, it throws away what was assigned before.

## How it is tested
The class is built as it is. If that fails for want of `nn.Module.__init__`, the line that fails is reported; the other
rules then see the module as it would be with the call in its place.

## How to fix it
Begin `__init__` with `super().__init__()`. A dataclass: call it in `__post_init__`, and use `eq=False`.

## How to reproduce it
    build()
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.load.constructor.search import UNINITIALISED, construct
from layersmith.probe import parameters, refusal, source
from layersmith.probe.surroundings import preserved
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

LEADS_ON = re.compile(r"super\b|__init__$|^self\.\w*(?:init|setup|build)\w*$")


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.REGISTERED, after=())
def missing_super_init(case: Case) -> Iterator[Finding]:
    """Build it without help."""
    construction = case.subject.construction
    if construction is None:
        raise NotApplicable("it was passed as an object: it is built")
    cls = construction.cls
    file, line = parameters.file(cls), 0
    try:
        with preserved(seed=0):
            module = construct(cls, construction.arguments, is_forgiving=False)
        if "_modules" in vars(module):
            return
        how = "never calls"
    except AttributeError as error:
        if UNINITIALISED not in str(error):
            return
        line = refusal.line_of(error, file)
        how = "assigns modules or parameters before"
    yield Finding(
        f"{cls.__name__}.__init__ {how} super().__init__(): it cannot be built, or called",
        file=file,
        line=line or source.class_line(cls)[1],
        fix="super().__init__() as the first line of __init__",
    )


@missing_super_init.by_source
def read(cls: Any) -> Iterator[Finding]:
    """A class that was not called: its own constructor, where nothing in it leads to another."""
    node = source.function_node(vars(cls).get("__init__"))
    names = [ast.unparse(one.func) for one in ast.walk(node) if isinstance(one, ast.Call)] if node else []
    if node is not None and not node.decorator_list and not any(LEADS_ON.search(name) for name in names):
        yield Finding(
            f"{cls.__name__}.__init__ never calls super().__init__(): it cannot be called",
            file=source.file_of(cls),
            line=node.lineno,
            fix="super().__init__() as the first line of __init__",
        )


@missing_super_init.bad("NoSuperInit.__init__ assigns modules or parameters before super().__init__()")
class NoSuperInit(nn.Module):
    def __init__(self) -> None:
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


@missing_super_init.bad("LateSuperInit.__init__ assigns modules or parameters before super().__init__()")
class LateSuperInit(nn.Module):
    def __init__(self) -> None:
        self.linear = nn.Linear(6, 6)
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


@missing_super_init.bad("NothingToRegister.__init__ never calls super().__init__()")
class NothingToRegister(nn.Module):
    def __init__(self) -> None:
        self.slope = 0.1

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(min=0) + self.slope * x.clamp(max=0)


@missing_super_init.good
class PlainValuesFirst(nn.Module):
    """Numbers may be set before."""

    def __init__(self, width: int = 6) -> None:
        self.width = width
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)
