"""A second training step must work as the first.

## Why it matters
What a call keeps with its graph (a hidden state, a cached weight) leads the next backward into a graph that is gone:
"Trying to backward through the graph a second time". With `retain_graph=True` it works, slower with each step, until
memory is full.

## How it is tested
Two training steps on the same module, the second without anything between. It is an error when the second backward
raises that, and a warning when it does not but an attribute holds the graph of the first step still. Where a method
resets that attribute it is a warning too: the caller may have to call it. So it is where forward asks for train mode,
and only inputs that come with a graph, as from a layer before or as losses, lead there.

## How to fix it
Detach what is kept between calls (`self.hidden = hidden.detach()`), and compute what depends on parameters in
forward, every time.

## How to reproduce it
    for _ in range(2):
        run().sum().backward()
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import reading, source
from layersmith.probe.twice import Kept, twice
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

TRAINING = r"\bself\.training\b"
RESETS = ("reset", "detach", "clear", "init", "repackage")
SETS = r"\bself\.{}\b.*(?:[^=!<>]=\s*(?!None|torch\.zeros|=)|append|copy_)"


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.INDEPENDENT_CALLS)
def second_backward(case: Case) -> Iterator[Finding]:
    """Take two steps; name the attribute that leads into the first one's graph."""
    fresh, layered = case.fresh(training=True), case.fresh(training=True)
    steps = twice(fresh.module, fresh.inputs, seed=case.seed)
    if steps is not None and (steps.error or steps.kept):
        yield _finding(fresh.module, steps.kept, steps.error)
        return
    is_asked = reading.says(case.module, TRAINING)  # what is kept in any mode is a cache, or a stream's state
    behind = twice(layered.module, layered.inputs, seed=case.seed, is_leaf=False) if is_asked else None
    if behind is not None and behind.error and behind.kept:
        error = f"{behind.error}, where the inputs come from a layer"
        yield _finding(layered.module, behind.kept, error, severity=Severity.WARNING)
    if steps is None and behind is None:
        raise NotApplicable(
            "one training step cannot be taken: no output carries a gradient, or backward raises"
        )


def _finding(
    root: nn.Module, kept: tuple[Kept, ...], error: str, severity: Severity | None = None
) -> Finding:
    first = kept[0] if kept else None
    owner = root.get_submodule(first.module) if first else root
    kind: type = type(owner)
    name = first.path if first else ""
    file, line = reading.line_with(owner, SETS.format(first.attribute) if first else r"\bself\.\w+ = ")
    said = f"the second training step raises {error}" if error else "the graph grows with every call"
    held = (
        f"{name} keeps the graph of the call before"
        if name
        else "something keeps the graph of the call before"
    )
    is_reset = first is not None and any(
        method.strip("_").startswith(RESETS) and method != "__init__"
        for method in source.methods_naming(kind, first.attribute)
    )
    return Finding(
        f"{said}: {held}",
        where=first.module if first else "",
        file=file,
        line=line,
        fix=f"detach what is kept: self.{first.attribute} = ....detach()"
        if first
        else "keep nothing with a graph",
        severity=Severity.WARNING if is_reset or not error else severity,
    )


@second_backward.bad("hidden keeps the graph of the call before")
class KeepsItsState(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(6, 6)
        self.hidden: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.hidden is None or self.hidden.shape[0] != x.shape[0]:
            self.hidden = torch.zeros_like(x)
        self.hidden = self.cell(x, self.hidden)
        return self.hidden


@second_backward.bad("cache keeps the graph of the call before")
class CachesItsWeight(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.randn(6, 6))
        self.cache: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.cache is None:
            self.cache = self.raw.tanh()
        return x @ self.cache


@second_backward.bad("running keeps the graph of the call before", inputs=lambda: torch.rand(3))
class BalancesLosses(nn.Module):
    """Divides losses by their running averages."""

    running: Tensor

    def __init__(self, count: int = 3) -> None:
        super().__init__()
        self.register_buffer("running", torch.ones(count))

    def forward(self, losses: Tensor) -> Tensor:
        scale = self.running
        if self.training:
            self.running = 0.9 * scale + 0.1 * losses
        return (losses / scale).mean()


@second_backward.good
class DetachesItsState(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.auxiliary = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        out = self.linear(x)
        self.auxiliary = out.square().mean()
        return out
