"""`eval()` twice, or once more after `train()`, must be as `eval()` once.

## Why it matters
An override that merges weights in `eval()` and takes them apart in `train()` is called more often than one thinks: by a
training loop each epoch, by a parent, by a library that calls `eval()` to be sure. What adds to a weight each time ruins
the model, and the next checkpoint.

## How it is tested
Where a class has a `train` or an `eval` of its own, parameters are given other values, as training does, and `eval()` is
called once; then, on modules alike, twice, after `train()` and `eval()`, and after `train()` twice. All must answer
alike in eval mode.

## How to fix it
Keep what was done, and do it only where it was not: `if not mode and not self.merged: ...; self.merged = True`.

## How to reproduce it
    def after(*modes):
        switched = build().train()
        for parameter in switched.parameters():
            parameter.data.copy_(torch.linspace(-1, 1, parameter.numel()).view_as(parameter))
        [switched.train() if mode else switched.eval() for mode in modes]
        return switched(*args, **kwargs)
    for modes in ((False, False), (False, True, False), (True, False)):
        assert torch.allclose(after(False), after(*modes), rtol=1e-3, atol=1e-4), f"eval mode after train({modes})"
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import closeness, source
from layersmith.probe.influence import open_gates
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

ORDERS = {
    "eval() twice": ("eval", "eval"),
    "eval(), train() and eval()": ("eval", "train", "eval"),
    "train() twice and eval()": ("train", "eval"),
}


@rule(
    severity=Severity.ERROR,
    since="0.1",
    promise=Promise.OBEYS_MODES,
    after=("forward-raises", "nondeterministic-eval", "mode-not-propagated"),
)
def repeated_eval_differs(case: Case) -> Iterator[Finding]:
    """Switch it in several orders, and compare."""
    file, line = _override(case.module)
    if not line:
        raise NotApplicable("no class has a train or an eval of its own")
    once, again = _switched(case, "eval"), _switched(case, "eval")
    if once is None or closeness.gaps(once, again):
        raise NotApplicable("it gives no answer twice in eval mode")
    for how, order in ORDERS.items():
        gaps = closeness.gaps(once, got) if (got := _switched(case, *order)) is not None else []
        if gaps:
            yield Finding(
                f"after {how} it gives another {gaps[0].where} than after eval() once: by {gaps[0].max_abs:.2g}, "
                f"limit {gaps[0].limit:.2g}",
                gaps[0].where,
                file,
                line,
                fix="keep whether it was done: `if not mode and not self.merged: ...; self.merged = True`",
                numbers={"max_abs": gaps[0].max_abs, "limit": gaps[0].limit},
            )
            return


def _switched(case: Case, *order: str) -> Any:
    """The answer in eval mode after these calls, with parameters that are no longer at zero; None where it has none."""
    asked = case.fresh(training=True)
    open_gates(asked.module)
    with contextlib.suppress(Exception):  # it is switched otherwise, or only once
        for name in order:
            getattr(asked.module, name)()
        return asked.run()
    return None


def _override(module: nn.Module) -> tuple[str, int]:
    """Where the first class of the tree that is not torch's has its own `train` or `eval`."""
    for part in nn.Module.modules(module):
        for name in ("train", "eval"):
            method = source.unwrapped(getattr(type(part), name))
            node = source.function_node(method)
            if not source.is_torchs(method.__module__) and node is not None:
                return method.__code__.co_filename, node.lineno
    return "", 0


class Adapted(nn.Linear):
    """A low-rank update, merged into the weight in eval mode."""

    def __init__(self) -> None:
        super().__init__(6, 6)
        self.down = nn.Parameter(torch.randn(2, 6))
        self.up = nn.Parameter(torch.zeros(6, 2))
        self.merged = False

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.linear(x, self.weight, self.bias)
        return y if self.merged else y + x @ self.down.mT @ self.up.mT


@repeated_eval_differs.bad("after eval() twice it gives another output than after eval() once")
class MergesEachTime(Adapted):
    @torch.no_grad()
    def train(self, mode: bool = True) -> MergesEachTime:
        super().train(mode)
        if not mode:
            self.weight.add_(self.up @ self.down)
        elif self.merged:
            self.weight.sub_(self.up @ self.down)
        self.merged = not mode
        return self


@repeated_eval_differs.bad("after eval(), train() and eval() it gives another output")
class ForgetsToTakeApart(Adapted):
    @torch.no_grad()
    def eval(self) -> ForgetsToTakeApart:
        if self.training:
            self.weight.add_(self.up @ self.down)
        self.merged = True
        return super().eval()


@repeated_eval_differs.bad("after train() twice and eval() it gives another output")
class TakesApartWhatIsApart(Adapted):
    @torch.no_grad()
    def train(self, mode: bool = True) -> TakesApartWhatIsApart:
        if mode:
            self.weight.sub_(self.up @ self.down)
        elif not self.merged:
            self.weight.add_(self.up @ self.down)
        self.merged = not mode
        super().train(mode)
        return self


@repeated_eval_differs.good
class MergesOnce(Adapted):
    @torch.no_grad()
    def train(self, mode: bool = True) -> MergesOnce:
        super().train(mode)
        if self.merged is mode:
            self.weight.add_(self.up @ self.down, alpha=-1 if mode else 1)
            self.merged = not mode
        return self


@repeated_eval_differs.good
class FreezesItsNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.norm = nn.BatchNorm1d(6)
        self.switches = 0

    def train(self, mode: bool = True) -> FreezesItsNorm:
        super().train(mode)
        self.norm.eval()
        self.switches += 1
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.linear(x))
