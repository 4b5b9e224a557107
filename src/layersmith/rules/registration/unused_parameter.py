"""Every parameter that asks for a gradient must be reached from some output.

## Why it matters
A parameter that forward never reaches keeps its first value for ever. Mostly it is a slip: `norm1` called
twice and `norm2` never, or a layer that was replaced and left behind. DistributedDataParallel refuses it.

## How it is tested
Gradients are taken in train and eval mode, over several seeds and inputs; only a parameter without any path to any
output in all of them is reported. A zero gradient is not (zero-initialised gates are sound). If the code
names the attribute elsewhere than in `__init__`, a condition may lead there, and it is a warning only where
siblings in the same container are reached.

## How to fix it
Use it in forward, delete it, or set `requires_grad=False`.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import source, tree
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

RUNS = 6  # with other seeds and inputs each: a routed expert deserves a chance


@rule(
    severity=Severity.ERROR,
    since="0.1",
    promise=Promise.EVERY_PARAMETER_LEARNS,
)
def unused_parameter(case: Case) -> Iterator[Finding]:
    """Collect what gradients reach over several runs; report the rest, once a submodule."""
    waiting = {name for name, parameter in case.module.named_parameters() if parameter.requires_grad}
    if not waiting:
        return
    runs = 0
    for run in range(RUNS):
        reached = _reached(case.fresh(seed=case.seed + run // 2, training=run % 2 == 0))
        runs += reached is not None
        waiting -= reached or set()
        if not waiting:
            return
    findings = [*_findings(case.module, waiting)]
    if not (runs or findings):
        raise NotApplicable("no output carries a gradient")
    yield from findings


def _reached(case: Case) -> set[str] | None:
    """The parameters with a path to an output; None if no output carries a gradient."""
    try:
        outputs = [y for y in tree.tensors(case.run()) if y.requires_grad]
    except Exception:  # noqa: BLE001 - train mode may ask for more than the example has
        return None
    if not outputs:
        return None
    named = {name: p for name, p in case.module.named_parameters() if p.requires_grad}
    gradients = torch.autograd.grad([tree.total(outputs)], [*named.values()], allow_unused=True)
    return {name for name, gradient in zip(named, gradients, strict=True) if gradient is not None}


def _findings(root: nn.Module, unreached: set[str]) -> Iterator[Finding]:
    told: set[str] = set()
    reached = {name for name, _ in root.named_parameters()} - unreached
    for path in sorted(unreached):
        place = _place(root, path, reached)
        if place is None or place[0] in told:
            continue
        where, attribute, owner, severity = place
        told.add(where)
        file, line = source.attribute_line(type(owner), attribute)
        count = sum(p.numel() for n, p in root.named_parameters() if n == where or n.startswith(f"{where}."))
        yield Finding(
            f"{where} never reaches the output: {count} numbers get no gradient",
            where=where,
            file=file,
            line=line,
            fix=f"use {where} in forward, or delete it",
            numbers={"parameters": count},
            severity=severity,
        )


def _place(
    root: nn.Module, path: str, reached: set[str]
) -> tuple[str, str, nn.Module, Severity | None] | None:
    """The outermost attribute that forward forgets: (path, attribute, owner, severity); None if none is."""
    parts = path.split(".")
    owner = root
    for depth, part in enumerate(parts):
        where = ".".join(parts[: depth + 1])
        if isinstance(owner, nn.ModuleList | nn.ModuleDict | nn.ParameterList | nn.ParameterDict):
            container = ".".join(parts[:depth])
            if any(name.startswith(f"{container}.") for name in reached):
                holder, attribute = source.owner(root, container)
                return where, attribute, holder, Severity.WARNING
        elif _is_ours(owner) and not _methods(type(owner), part) - {"__init__"}:
            return where, part, owner, None
        owner = getattr(owner, part) if depth < len(parts) - 1 else owner
    return None


def _methods(cls: type, attribute: str) -> frozenset[str]:
    return source.methods_naming(cls, attribute)


def _is_ours(module: nn.Module) -> bool:
    return not type(module).__module__.startswith("torch.")


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
