"""The output of one call must not change when the module is called again.

## Why it matters
A module that returns its own buffer, and writes to it in place at the next call, changes what the caller still
holds: predictions collected over a loop are all those of the last batch.

## How it is tested
The output of one call is copied; the module is called again with other inputs, in eval and in train mode; the first
output must still be what it was.

## How to fix it
Return `self.state.clone()`, or compute a new tensor instead of writing into the old one.

## How to reproduce it
    module.eval()
    first = run()
    before = first.clone()
    run(*(x * 2 for x in args))
    assert torch.equal(first, before), "the output of a call changes with the next call"
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import closeness, reading, tree
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

CACHE = re.compile(r"^(?:KV|Key|Static|Rolling|Attention)\w*Cache")
WRITES = r"\.(?:copy_|fill_|zero_|add_|mul_|lerp_|set_)\(|\bout=|\[.*\]\s*[-+*/]?=(?!=)|[-+*/]="


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.INDEPENDENT_CALLS)
def overwritten_output(case: Case) -> Iterator[Finding]:
    """Hold an output over a second call."""
    if CACHE.search(type(case.module).__name__):
        raise NotApplicable("a cache by its name, whose memory its output is meant to be")
    others = case.inputs.map(lambda x: x * 0.5 + 0.25 if x.is_floating_point() else x)
    for training in (False, True):
        used = case.fresh(training=training)
        held = used.run()
        copy = tree.clone(held)
        with contextlib.suppress(Exception):  # other values need not be accepted
            used.run(others, seed=case.seed + 1)
        if changed := closeness.gaps(copy, held):
            yield _finding(case.module, changed[0])
            return


def _finding(module: nn.Module, gap: closeness.Gap) -> Finding:
    return Finding(
        f"{gap.where} of one call changes by {gap.max_abs:.2g} during the next: it is the module's own memory",
        gap.where,
        *reading.line_with(module, WRITES),
        fix="return a copy: self.state.clone()",
        numbers={"max_abs": gap.max_abs, "limit": gap.limit},
    )


@overwritten_output.bad("changes by")
class ReturnsItsBuffer(nn.Module):
    result: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("result", torch.zeros(4, 6), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        self.result.copy_(x.detach() * 2)
        return self.result


@overwritten_output.bad("output['window'] of one call changes")
class ReturnsAViewOfItsCache(nn.Module):
    cache: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("cache", torch.zeros(8, 6), persistent=False)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        self.cache[: len(x)] = x.detach().tanh()
        return {"window": self.cache[: len(x)], "input": x.relu()}


@overwritten_output.good
class ReturnsACopy(nn.Module):
    result: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("result", torch.zeros(4, 6), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.result.copy_(x.detach() * 2)
        return x.relu(), self.result.clone()


@overwritten_output.good
class ReturnsAConstant(nn.Module):
    """A buffer that nobody writes to may be returned."""

    table: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.arange(6.0))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x + self.table, self.table
