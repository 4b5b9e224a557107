"""torch.export must take the module, with its batch axis left open.

## Why it matters
What is exported runs elsewhere: in a server, on a phone, in C++. A forward that turns the batch size into a Python
number (`int(x.shape[0])`, `range(len(x))`, `view(32, -1)`) exports a graph for that one size, and serving fails with
the first batch of another.

## How it is tested
`torch.export.export` in eval mode with the batch axis dynamic, where it is known and eager mode takes other sizes; a
forward that runs on tensors without values, whatever their rows are, is taken as exported. When export refuses, or the
exported program refuses or answers otherwise for one row more, that is a warning with the line that fixed the size; of
a loss, that gives one number, or where Python's `math` fixed it, a note. So is what cannot be exported with fixed sizes
either (code that depends on values, attributes assigned in forward).

## How to fix it
Use sizes as they are: `x.new_zeros(x.shape[0], 8)`, `x.reshape(x.shape[0], -1)`, `x.flatten(1)`; operations on the
whole batch in place of a loop over its rows.

## How to reproduce it
    from torch.export import Dim, export
    batch = Dim("batch", min=2)
    export(module.eval(), args, dynamic_shapes=[{0: batch} for _ in args])
"""

from __future__ import annotations

import linecache
import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.observations import exports
from layersmith.probe import contents, source, tree, wording
from layersmith.probe.compiler import Place, is_torchs
from layersmith.probe.export import Export
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

FIX = "use x.shape[0] as it is, in reshape, new_zeros, expand: no int(), range() or fixed number in its place"
FIXED = re.compile(r"specialized it to be a constant \((\d+)\)")


@rule(
    severity=Severity.WARNING, since="0.1", promise=Promise.COMPILES, after=("forward-raises", "graph-break")
)
def export_fails(case: Case) -> Iterator[Finding]:
    """Export with the batch open; what fails with it closed, too, is no matter of the batch."""
    if case.inputs.modules():
        raise NotApplicable("a module that is handed to forward is no input of a program")
    export = case.once(exports)
    if export.always:
        yield _never(export)
    elif export.refusal and export.axis is None:
        raise NotApplicable("exporting it twice gives two answers")
    elif export.refusal:
        number = FIXED.search(export.refusal)
        what = f"the batch axis is fixed to {number[1]}" if number else wording.first_line(export.refusal)
        yield _for_one_size(case, f"cannot be had: {what}", export.fixing or (export.place,))
    elif export.trouble:
        raise NotApplicable("the exported program does not run")
    elif export.otherwise:
        yield _for_one_size(case, export.otherwise, export.fixing)


def _for_one_size(case: Case, what: str, seen: tuple[Place, ...]) -> Finding:
    file, line = seen[-1] if seen else source.class_line(type(case.module))
    is_loss = all(
        tensor.ndim == 0 for tensor in tree.tensors(case.fresh().run())
    )  # which stays where it trains
    return Finding(
        f"an exported program for any batch size {what}"[:300],
        file=file,
        line=line,
        fix=FIX,
        severity=Severity.NOTE
        if not file or is_torchs(file) or is_loss or _is_of_math(file, line) or _keeps_something(case)
        else None,
    )


def _keeps_something(case: Case) -> bool:
    """Whether a call leaves something in the module, as the state of a stream: export's second look finds it."""
    used = case.fresh()
    used.run()
    return next(contents.differing(used.module, case.fresh().module), None) is not None


def _is_of_math(file: str, line: int) -> bool:
    """Whether Python's math makes a number of the size, as `1 / math.sqrt(x.numel())`: torch has no plain word for it."""
    return bool(re.search(r"\bmath\.\w", linecache.getline(file, line)))


def _never(export: Export) -> Finding:
    return Finding(
        f"torch.export refuses it: {export.always}"[:300],
        "",
        *export.place,
        fix="keep values in tensors, and buffers for what forward assigns",
        severity=Severity.NOTE,
    )


@export_fails.bad("the batch axis is fixed to 4")
class TurnsItsBatchIntoANumber(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        rows = int(x.shape[0])
        return x.reshape(rows, 2, 3).flatten(1)


@export_fails.bad("refuses one row more")
class AsksForEvenBatches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        half = x.unflatten(0, (2, -1)).flatten(0, 1) if x.shape[0] % 2 == 0 else x
        return half * 2


@export_fails.good
class HasAPartCalledCode(nn.Module):
    """As every graph of torch.fx has: torch.export confuses the two."""

    def __init__(self) -> None:
        super().__init__()
        self.code = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.code(x)
        return y.relu()


@export_fails.good
class KeepsItsBatchOpen(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], 2, 3).mT.flatten(1)


@export_fails.good
class ChoosesByBatchSize(nn.Module):
    """Asks for the size and does the same: a bound on it is kept beside the program."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([part * 2 for part in x.chunk(2, -1)], -1) if x.shape[-1] > 4 else x * 2  # noqa: PLR2004
