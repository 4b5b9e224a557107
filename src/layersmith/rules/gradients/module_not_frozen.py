"""To freeze a module its parameters must be told.

## Why it matters
`self.encoder.requires_grad = False` does nothing: a module has no such property, so Python gives it a new attribute that
no one reads. The weights that were to stay are trained, and what was pretrained is forgotten.

## How it is tested
The source is read: an assignment to `requires_grad` of what the instance holds as a module, whether or not the line has
run; so is every module inside for such an attribute, as a loop over `self.modules()` leaves it. A class that has a
`requires_grad` of its own, and a module that is frozen as well, or is told so in the same method, pass.

## How to fix it
`self.encoder.requires_grad_(False)`, or a loop over `self.encoder.parameters()`.

## How to reproduce it
    part = module.get_submodule(where)
    part.requires_grad = False
    assert not where or not any(one.requires_grad for one in part.parameters()), "its parameters still ask for gradients"
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Iterator

from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import source
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

ATTRIBUTE = "requires_grad"


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.PLAIN_CODE, after=())
def module_not_frozen(case: Case) -> Iterator[Finding]:
    """What the source assigns, then what other code, or a loop, has left on a module."""
    cls: type = type(case.module)
    told: set[int] = set()
    for path, line in _assigned(cls):
        part = _held(case.module, path)
        if isinstance(part, nn.Module) and not _keeps_it(type(part)) and _learns(part):
            told |= {id(inner) for inner in nn.Module.modules(part)}
            yield _finding(part, f"self.{path}", source.file_of(cls), line)
    for name, part in nn.Module.named_modules(case.module):
        is_flag = vars(part).get(ATTRIBUTE) is False
        if is_flag and id(part) not in told and not _keeps_it(type(part)) and _learns(part):
            told |= {id(inner) for inner in nn.Module.modules(case.module)}  # one loop, one finding
            yield _finding(part, name or "self", *source.class_line(cls))


def _assigned(cls: type) -> Iterator[tuple[str, int]]:
    """The attributes whose `requires_grad` its methods set, `encoder` or `encoder.layers`, with the line."""
    for method in source.methods(cls):
        text = ast.unparse(method)
        for node in ast.walk(method):
            if isinstance(node, ast.Assign) and getattr(node.value, "value", None) is not True:
                path = ast.unparse(node.targets[0]).split(".")
                owner = ".".join(path[:-1])
                is_told = f"{owner}.requires_grad_(" in text or f"{owner}.parameters()" in text  # as well
                if path[0] == "self" and path[-1] == ATTRIBUTE and len(path) > 2 and not is_told:  # noqa: PLR2004 - not its own
                    yield ".".join(path[1:-1]), node.lineno


def _held(module: nn.Module, path: str) -> object:
    try:
        return operator.attrgetter(path)(module)
    except Exception:  # noqa: BLE001 - it need not be there with these arguments
        return None


def _keeps_it(cls: type) -> bool:
    """Whether its source, or that of a base, has an attribute of that name."""
    return hasattr(cls, ATTRIBUTE) or any(
        f"self.{ATTRIBUTE}" in source.text_of(base) for base in cls.__mro__[:-1] if base is not nn.Module
    )


def _learns(part: nn.Module) -> bool:
    """Whether it has numbers that ask for a gradient."""
    return any(parameter.requires_grad for parameter in part.parameters())


def _finding(part: nn.Module, name: str, file: str, line: int) -> Finding:
    count = sum(parameter.numel() for parameter in part.parameters())
    return Finding(
        f"{name}.{ATTRIBUTE} is set, which a module does not have: none of its {count} numbers is frozen by it",
        where=name.removeprefix("self."),
        file=file,
        line=line,
        fix=f"{name}.requires_grad_(False)",
    )


@module_not_frozen.bad("self.table.requires_grad is set, which a module does not have")
class FreezesByAnOption(nn.Module):
    def __init__(self, *, is_frozen: bool = False) -> None:
        super().__init__()
        self.table = nn.Linear(6, 6)
        if is_frozen:
            self.table.requires_grad = False  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        return self.table(x).relu()


@module_not_frozen.bad("layers.0.requires_grad is set")
class FreezesInALoop(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
        for layer in self.layers:
            layer.requires_grad = False  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


@module_not_frozen.good
class FreezesAWeight(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Linear(6, 6)
        self.table.weight.requires_grad = False

    def forward(self, x: Tensor) -> Tensor:
        return self.table(x).relu()


class Remembers(nn.Module):
    """A setting of its own."""

    def __init__(self, *, requires_grad: bool) -> None:
        super().__init__()
        self.requires_grad = requires_grad
        self.scale = nn.Parameter(0.5 * Tensor([1, 2, 3, 4, 5, 6]), requires_grad=requires_grad)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


@module_not_frozen.good
class HasASetting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Remembers(requires_grad=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)
