"""`reset_parameters()` must draw every parameter anew.

## Why it matters
Cross-validation, ensembles and the repeats of a benchmark call it between runs, and FSDP calls it to fill parameters made
on `meta`. A parameter that it forgets carries what was learned into the next run, or keeps whatever memory held.

## How it is tested
Every parameter is filled with odd numbers, then `reset_parameters()` is called. The parameters that the class itself
makes must all have changed. So must those of its submodules once it resets one of them entirely; if it resets none, or
gives some weights another start, they are reset by their own methods, as is usual in torch. Frozen parameters are left
out. The parameters must be the same objects afterwards, for an optimizer holds them. The call itself must not raise. Of
a class that cannot be called, the source is read: the same statement twice, while an attribute made like the one that it
resets is left out.

## How to fix it
Initialise the parameter in `reset_parameters`, and let `__init__` call that instead of doing its own.

## How to reproduce it
    with torch.no_grad():
        [parameter.fill_(7.0) for parameter in module.parameters()]
    old = dict(module.named_parameters())
    module.reset_parameters()
    assert all(old[name] is parameter for name, parameter in module.named_parameters()), "new parameters"
    kept = [name for name, parameter in module.named_parameters() if (parameter == 7.0).all()]
    assert where not in kept, f"reset_parameters() leaves {kept} as before"
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import refusal, source, twins, wording
from layersmith.probe.surroundings import preserved
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

RESET = "reset_parameters"


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.RESETS)
def reset_incomplete(case: Case) -> Iterator[Finding]:
    """Fill, reset, and see what is still full; each class of the tree once."""
    found = {type(part): path for path, part in reversed([*case.module.named_modules()]) if _is_asked(part)}
    if not found:
        raise NotApplicable("no class has reset_parameters() without arguments")
    for path in found.values():
        yield from _asked(case.fresh().module.get_submodule(path), path)


def _is_asked(part: nn.Module) -> bool:
    """Whether it has a method of its author's own that can be called as it is."""
    method = getattr(type(part), RESET, None)
    if method is None or source.is_torchs(getattr(method, "__module__", "") or ""):
        return False
    parameters = [*inspect.signature(method).parameters.values()][1:]
    return all(p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)


@reset_incomplete.by_source
def left_out(cls: type) -> Iterator[Finding]:
    """What the source shows of a class that was not built or called: the same twice, and the other not at all."""
    for one in twins.never_reset(cls):
        yield Finding(
            f"{cls.__name__}.{RESET}() does the same to {one.twin} twice, and nothing to {one.name}",
            where=one.name,
            file=one.file,
            line=one.line,
            fix=f"initialise {one.name} in {RESET}()",
        )


def _asked(part: nn.Module, path: str) -> Iterator[Finding]:
    asked = {name: p for name, p in part.named_parameters() if p.requires_grad and p.numel()}
    before = _filled(asked)
    try:
        with preserved(seed=0):
            part.reset_parameters()  # type: ignore[operator]
    except Exception as error:  # noqa: BLE001 - that it raises is the finding
        yield _raises(part, path, error)
        return
    now = dict(part.named_parameters())
    if others := [name for name, parameter in asked.items() if now.get(name, parameter) is not parameter]:
        yield _replaces(part, path, others)
    same = [name for name, old in before.items() if name in now and torch.equal(now[name].detach(), old)]
    is_deep = _resets_submodules([*before], same)
    forgotten = [name for name in same if "." not in name or is_deep]
    if forgotten:
        yield _forgets(part, path, forgotten, len(before))


def _resets_submodules(names: list[str], same: list[str]) -> bool:
    """Whether submodules are reset, every parameter of them; one weight here and there is only started otherwise."""
    inner = {name.rpartition(".")[0] for name in names if "." in name}
    kept = {name.rpartition(".")[0] for name in same}
    return sum(name.rpartition(".")[0] in inner - kept for name in names) > 1


def _filled(parameters: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    """Fill each with numbers that no initialisation gives; a copy of them by name."""
    with torch.no_grad(), preserved(seed=1):
        for parameter in parameters.values():
            parameter.copy_(torch.rand(parameter.shape) + 17.0)
    return {name: parameter.detach().clone() for name, parameter in parameters.items()}


def _forgets(part: nn.Module, path: str, forgotten: list[str], count: int) -> Finding:
    cls = type(part)
    file, line = source.parameter_line(part, forgotten[0])
    named = wording.listed(forgotten)
    return Finding(
        f"{cls.__name__}.{RESET}() leaves {named} as before: {len(forgotten)} of {count} parameters",
        where=f"{path}.{forgotten[0]}" if path else forgotten[0],
        file=file,
        line=line,
        fix=f"initialise {named} in {RESET}()",
        numbers={"unchanged": len(forgotten), "parameters": count},
    )


def _replaces(part: nn.Module, path: str, others: list[str]) -> Finding:
    cls = type(part)
    file, line = source.parameter_line(part, others[0])
    return Finding(
        f"{cls.__name__}.{RESET}() puts new parameters in the place of {wording.listed(others)}: "
        "an optimizer keeps the old ones",
        where=f"{path}.{others[0]}" if path else others[0],
        file=file,
        line=line,
        fix="fill them in place, by nn.init",
        severity=Severity.WARNING,
    )


def _raises(part: nn.Module, path: str, error: Exception) -> Finding:
    cls: type = type(part)
    file = source.file_of(cls)
    return Finding(
        f"{cls.__name__}.{RESET}() raised {wording.short(error)}",
        where=path,
        file=file,
        line=refusal.line_of(error, file) or source.class_line(cls)[1],
        fix=f"let {RESET}() work on a module that is built",
    )


@reset_incomplete.bad(
    "reset_parameters() puts new parameters in the place of weight: an optimizer keeps the old"
)
class MakesNewParameters(nn.Module):
    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.width = width
        self.reset_parameters()

    def reset_parameters(self) -> None:
        self.weight = nn.Parameter(torch.randn(self.width, self.width) * self.width**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight)


@reset_incomplete.bad("reset_parameters() leaves bias as before: 1 of 2")
class ForgetsTheBias(nn.Module):
    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight, self.bias)


@reset_incomplete.bad("reset_parameters() leaves second.weight, second.bias as before: 2 of 4")
class ForgetsALayer(nn.Module):
    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)

    def reset_parameters(self) -> None:
        self.first.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).relu())


@reset_incomplete.bad("reset_parameters() raised")
class ResetsOnce(nn.Module):
    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def reset_parameters(self) -> None:
        self.weight.fill_(1.0)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


@reset_incomplete.good
class ResetsItsOwn(nn.Module):
    """Submodules have their own method, a frozen table is none of its business."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.scale = nn.Parameter(torch.empty(width))
        self.table = nn.Parameter(torch.ones(width), requires_grad=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.ones_(self.scale)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * self.scale + self.table


@reset_incomplete.good
class StartsOneWeightOtherwise(nn.Module):
    """Its layers have started as torch starts them; it only draws one weight from another distribution."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.score = nn.Linear(width, width)
        self.last = nn.Linear(width, width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.kaiming_normal_(self.score.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.score(x).relu())
