"""In eval mode, one row's output must not depend on the other rows of its batch.

## Why it matters
A layer that mixes rows learns from samples that it will not have at batch size 1: validation looks fine and
the deployed model is wrong. It is usually a reduction or softmax over the wrong axis.

## How it is tested
All rows but one are replaced; that row of each output must not move. Asked of the first and of the last row,
so that a running sum is found as well. The batch axis is 0 unless the code shows that time comes first.
Outputs without a batch axis (losses) and pairwise outputs (batch by batch) are not judged, nor are graphs.

## How to fix it
Reduce over feature dimensions (`dim=-1`), keep running statistics for eval as BatchNorm does, or, where rows
are meant to be compared, waive it: `@layersmith.contract(waive={"batch-leak": "contrastive"})`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import batch, closeness, source, tree
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.INDEPENDENT_ROWS)
def batch_leak(case: Case) -> Iterator[Finding]:
    """Replace the other rows; report the likeliest axis only if no other axis is free of leaks."""
    if batch.is_graph(case.inputs, tuple(inspect.signature(case.module.forward).parameters)):
        raise NotApplicable("rows are nodes of a graph")
    axes = [axis for axis in batch.axes(case.module, case.inputs) if batch.batch_size(case.inputs, axis) > 1]
    leaks = [leak for axis in axes if (leak := _leak(case, axis)) is not None]
    if not leaks:
        raise NotApplicable("no output has a batch axis of at least two rows")
    if all(leak.is_open for leak in leaks):
        yield _finding(case, leaks[0])


def _leak(case: Case, axis: int) -> closeness.Gap | None:
    """The widest relative gap over both rows; None when no output can be compared along this axis."""
    size = batch.batch_size(case.inputs, axis)
    before = case.run()
    if _is_pairwise(case, before, axis):
        return None
    found = [gap for keep in (0, size - 1) for gap in _moved(case, before, keep, axis)]
    return max(found, key=lambda gap: (gap.is_open, gap.max_abs), default=None)


def _moved(case: Case, before: object, keep: int, axis: int) -> Iterator[closeness.Gap]:
    generator = torch.Generator().manual_seed(case.seed)
    others = batch.replace_other_rows(case.inputs, keep, axis=axis, generator=generator)
    size = batch.batch_size(case.inputs, axis)
    after = dict(batch.rows(case.fresh().run(others), keep, axis=axis, size=size))
    for path, row in batch.rows(before, keep, axis=axis, size=size):
        if path in after and tree.is_differentiable(row):
            yield closeness.gap(row, after[path], where=f"{path}, row {keep}")


def _is_pairwise(case: Case, output: object, axis: int) -> bool:
    """Whether an output has the batch on two axes (a similarity matrix): seen by running one row less."""
    size = batch.batch_size(case.inputs, axis)
    if not any(list(tensor.shape).count(size) > 1 for tensor in tree.tensors(output)):
        return False
    try:
        smaller = case.fresh().run(batch.take(case.inputs, size - 1, axis=axis))
    except Exception:  # noqa: BLE001 - another batch size is another rule's question
        return False
    pairs = zip(tree.tensors(output), tree.tensors(smaller), strict=False)
    return any(sum(a != b for a, b in zip(x.shape, y.shape, strict=False)) > 1 for x, y in pairs)


def _finding(case: Case, leak: closeness.Gap) -> Finding:
    file, line = source.class_line(type(case.module))
    return Finding(
        f"{leak.where} moved by {leak.max_abs:.2g} when only other rows changed, limit {leak.limit:.2g}",
        where=leak.where,
        file=file,
        line=line,
        fix="reduce over features (dim=-1), not over the batch (dim=0)",
        numbers={"max_abs": leak.max_abs, "limit": leak.limit},
    )


@batch_leak.bad("moved by")
class CentersOverBatch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0)


@batch_leak.bad("row 3 moved")
class SumsUpTheBatch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.cumsum(0)


@batch_leak.good
class CentersOverFeatures(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(-1, keepdim=True)


@batch_leak.good(inputs=lambda: torch.randn(7, 3, 6))
class TimeBeforeBatch(nn.Module):
    """Mixes along axis 0, which is time: `nn.GRU` has its batch on axis 1 by default."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(x)[0]


@batch_leak.good
class SimilarityOfPairs(nn.Module):
    """Row i of a batch-by-batch matrix is about all rows, as in CLIP."""

    def forward(self, x: Tensor) -> Tensor:
        return x @ x.T
