"""Every parameter that asks for a gradient must be reached from some output.

## Why it matters
A parameter that forward never reaches keeps its first value for ever. Mostly it is a slip: `norm1` called
twice and `norm2` never, or a layer that was replaced and left behind. DistributedDataParallel refuses it.

## How it is tested
Autograd's graph is read in train and eval mode, over several seeds and inputs; only a parameter without any path to
any output in all of them is reported. A zero gradient is not (zero-initialised gates are sound). If the code
names the attribute elsewhere than in `__init__`, a condition may lead there: then it is a warning, and only where
nothing calls the method that names it, siblings in the same container are reached and neither the data nor an argument
chooses among them, or the submodule is called and its result changes nothing. What another file of the project reads
(`model.head(features)` in a loop) is a note; what is called dummy or unused is meant so.

## How to fix it
Use it in forward, delete it, or set `requires_grad=False`.

## How to reproduce it
    run().sum().backward()
    idle = [name for name, p in module.named_parameters() if p.requires_grad and p.grad is None]
    assert not idle, f"no gradient reaches {idle}"
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.load import project
from layersmith.probe import picked, reach, source, wording
from layersmith.promises import Promise, contract
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

MEANT = re.compile(r"(?:^|\.)_?(?:dummy|unused|placeholder)(?:_|\.|$)")
RUNS = 8  # with other seeds and inputs each: a routed expert deserves a chance
Runs = list[reach.Reach]
Place = tuple[str, str, type, Severity | None]  # path, attribute, class of its owner, severity


@rule(
    severity=Severity.ERROR,
    since="0.1",
    promise=Promise.EVERY_PARAMETER_LEARNS,
    after=("forward-raises", "lambda-attribute"),
)
def unused_parameter(case: Case) -> Iterator[Finding]:
    """Collect what gradients reach over several runs; report the rest, one finding a line of the source."""
    waiting = {
        name
        for name, parameter in case.module.named_parameters()
        if parameter.requires_grad and not (MEANT.search(name) or source.is_in_stand_in(case.module, name))
    }
    runs: list[reach.Reach] = []
    for run in range(RUNS if waiting else 0):
        fresh = case.fresh(seed=case.seed + run // 2, training=run % 2 == 0)
        found = reach.reach(fresh.module, fresh.inputs, seed=fresh.seed, is_original=run < RUNS // 2)
        if found is not None:
            runs.append(found)
            waiting -= found.parameters
        if not waiting:
            return
    if waiting and case.subject.inferred_from:
        waiting -= reach.reached_by_more_steps(case.fresh(training=True).module, case.inputs, seed=case.seed)
    root, unreached = case.module, sorted(waiting)
    open_ = {size for x in case.inputs.tensors() for size in x.shape[1:] if case.subject.inferred_from}
    found_at = (
        _place(root, one, waiting, runs, open_) or _dropped(case, one, waiting, runs) for one in unreached
    )
    places = dict.fromkeys(place for place in found_at if place is not None)
    if waiting and not (runs or places):
        raise NotApplicable("no output carries a gradient")
    lines: dict[tuple[object, ...], list[Place]] = {}
    for place in places:
        lines.setdefault((*source.attribute_line(place[2], place[1]), place[3]), []).append(place)
    yield from (_finding(case.module, same_line) for same_line in lines.values())


def _place(root: nn.Module, path: str, unreached: set[str], runs: Runs, guessed: set[int]) -> Place | None:
    """The outermost attribute that forward forgets; None if none is, or guessed sizes say how many are used."""
    parts, owner = path.split("."), root
    for depth, part in enumerate(parts):
        where = ".".join(parts[: depth + 1])
        kind: type = type(owner)
        if isinstance(owner, nn.ModuleList | nn.ModuleDict | nn.ParameterList | nn.ParameterDict):
            container = ".".join(parts[:depth])
            holder, attribute = source.owner(root, container)
            is_whole = reach.outermost_unreached(root, path, where, unreached) == where
            is_chosen = picked.chooses_from(type(holder), attribute)
            is_chosen |= reach.first_reached(root, container, unreached) in guessed
            if is_whole and not is_chosen and reach.is_passed_over(root, container, unreached, runs):
                return where, attribute, type(holder), Severity.WARNING
        elif not source.is_torchs(kind.__module__):
            is_named = bool(source.methods_naming(kind, part) - {"__init__"})
            if not is_named or project.leads_nowhere(kind, part):
                whole = reach.outermost_unreached(root, path, where, unreached)  # others may take parts of it
                severity = Severity.WARNING if is_named or whole != where else None
                is_read = project.is_read_from_outside(kind, part)
                return whole, part, kind, Severity.NOTE if is_read else severity
        owner = getattr(owner, part) if depth < len(parts) - 1 else owner
    return None


def _dropped(case: Case, path: str, unreached: set[str], runs: Runs) -> Place | None:
    """The outermost submodule above a parameter that every run calls and whose parameters change no output."""
    parts = path.split(".")[:-1]
    for depth in range(len(parts)):
        where = ".".join(parts[: depth + 1])
        inside = {name for name, _ in case.module.named_parameters() if name.startswith(f"{where}.")}
        if runs and inside <= unreached and all(where in run.called for run in runs):
            fresh = case.fresh(training=True)
            holder, attribute = source.owner(fresh.module, where)
            if inside & reach.returned_by(holder, fresh.module, fresh.inputs, seed=case.seed):
                return None  # it is in what its owner returns, of which this module wants another part
            if not reach.changes_nothing(fresh.module, fresh.inputs, inside, seed=case.seed):
                return None
            return where, attribute, type(holder), Severity.WARNING
    return None


def _finding(root: nn.Module, places: list[Place]) -> Finding:
    where, attribute, owner, severity = places[0]
    paths = [place[0] for place in places]
    file, line = source.member_line(owner, attribute)
    count = sum(
        p.numel() for n, p in root.named_parameters() if f"{n}.".startswith(tuple(f"{p}." for p in paths))
    )
    named = wording.listed(paths)
    return Finding(
        f"{named} never {'reaches' if len(paths) == 1 else 'reach'} the output: {count} numbers get no gradient",
        where=where,
        file=file,
        line=line,
        fix=f"use {named} in forward (and what it returns), or delete it",
        numbers={"parameters": count},
        severity=severity,
    )


@unused_parameter.bad("scale never reaches the output")
class ForgetsScale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(6))

    def forward(self, x: Tensor) -> Tensor:
        return x * 2.0


@unused_parameter.bad("norm2 never reaches the output")
class CallsNorm1Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.norm1 = nn.LayerNorm(6)
        self.norm2 = nn.LayerNorm(6)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm1(self.linear(self.norm1(x)))


@unused_parameter.bad("skip never reaches the output")
class DropsItsBranch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Linear(6, 6)
        self.skip = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        self.skip(x)
        return self.main(x).relu()


@unused_parameter.good
@contract(waive={"graph-break": "which experts run depends on values"})
class RoutesRows(nn.Module):
    """Four rows cannot reach all experts: which ones they do depends on the data."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(6, 32)
        self.experts = nn.ModuleList([nn.Linear(6, 6) for _ in range(32)])

    def forward(self, x: Tensor) -> Tensor:
        weight, chosen = self.router(x).softmax(-1).max(-1)
        return torch.stack(
            [w * self.experts[int(i)](row) for w, i, row in zip(weight, chosen, x, strict=True)]
        )


@unused_parameter.good
class HeadByTask(nn.Module):
    """An argument says which head."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleDict({"a": nn.Linear(6, 2), "b": nn.Linear(6, 3)})

    def forward(self, x: Tensor, task: str = "a") -> Tensor:
        return self.heads[task](x)


@unused_parameter.good
class GateOpensLater(nn.Module):
    """The branch gets a zero gradient at first, yet there is a path."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.gate = nn.Parameter(torch.zeros(6))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gate * self.linear(x)


@unused_parameter.good
class HeadOnDemand(nn.Module):
    """`head` is for callers that ask for it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 6)
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor, *, classify: bool = False) -> Tensor:
        x = self.body(x)
        return self.head(x) if classify else x


@unused_parameter.good
class BodyOfHeads(nn.Module):
    """Its subclass uses the head that it makes."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 6)
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class BodyAndHead(BodyOfHeads):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(super().forward(x))


@unused_parameter.good
class WantsFeaturesOnly(nn.Module):
    """Its classifier returns features and logits; the logits are for others."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = FeaturesAndLogits()

    def forward(self, x: Tensor) -> Tensor:
        features, _logits = self.classifier(x)
        return features


class FeaturesAndLogits(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.to_logits = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(x).relu()
        return features, self.to_logits(features)


@unused_parameter.good
class StacksOfChoices(nn.Module):
    """Each of its blocks has a layer that its setting leaves out, and one that it takes."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Sequential(OneOfTwo(kind)) for kind in ("wide", "plain"))
        self.last = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x) + x
        return self.last(x)


class OneOfTwo(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.options = nn.ModuleDict({"wide": nn.Linear(6, 6), "plain": nn.Linear(6, 6)})

    def forward(self, x: Tensor) -> Tensor:
        return self.options[self.kind](x)
