"""In eval mode, one row's output must not depend on the other rows of its batch.

## Why it matters
A layer that mixes rows learns from samples that it lacks at batch size 1. Usually a reduction is over the wrong axis.

## How it is tested
All rows but one are replaced; that row of each output must not move. Asked of the first and of the last row, of smaller
inputs, and beside a row that is far larger where the code takes a maximum. The batch axis is 0 unless the code shows
that time comes first. Losses, pairwise outputs (batch by batch) and graphs are not judged; a discriminator's deviation is
a note. The first operation whose result moves is where it starts.

## How to fix it
Reduce over feature dimensions (`dim=-1`), keep running statistics for eval as BatchNorm does, or, where rows
are meant to be compared, waive it: `@layersmith.contract(waive={"batch-leak": "contrastive"})`.

## How to reproduce it
    module.eval()
    for keep in (0, -1):
        others = [x * 2 if x.is_floating_point() else x.flip(-1) for x in args]
        for x, other in zip(args, others):
            other[keep] = x[keep]
        one, two = run()[keep], run(*others)[keep]
        assert torch.allclose(one, two, rtol=1e-3, atol=1e-5), f"row {keep} moved by {(one - two).abs().max()}"
"""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import axes, batch, closeness, edges, nodes, reading, sets, source, steps, tree
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

FIXES = {  # by the operations where it starts
    "lstm gru rnn_tanh rnn_relu multi_head_attention_forward": "its batch is on axis 1: pass batch_first=True",
    "view reshape view_as unflatten flatten": "a reshape must keep the batch axis: use transpose or permute",
    "matmul mm bmm einsum scaled_dot_product_attention": "compare within a row, by x.transpose(-2, -1), or waive it",
    "batch_norm instance_norm": "keep running statistics for eval, or normalise within a row",
    "roll flip cumsum cumprod sort": "pass dim: here it goes over the batch",
}
BY_OPERATION = {operation: fix for names, fix in FIXES.items() for operation in names.split()}
AFTER = ("forward-raises", "state-changes-in-eval", "silent-broadcast")
MIXES = re.compile(r"(?i)^Random|mini_?batch|mix_?up|cut_?mix|mosaic|loss$|criterion$")  # by their names
LARGEST, ITERATES = r"\bmax\(|amax\(", r"(?s)\btol\w*\b.*\bbreak\b"  # a safe softmax; until all rows are near
SPREAD = r"\b(?:var|std)\w*\("  # by which a discriminator is told how unlike its rows are, since progressive growing
OTHERWISE = "reduce over features (dim=-1), not over the batch (dim=0)"


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.INDEPENDENT_ROWS, after=AFTER)
def batch_leak(case: Case) -> list[Finding]:
    """Replace the other rows; report the likeliest axis only if no other axis is free of leaks."""
    if MIXES.search(type(case.module).__name__) or reading.says(case.module, ITERATES):
        raise NotApplicable("an augmentation or a loss by its name, or it goes on until all rows are near")
    names = tuple(inspect.signature(case.module.forward).parameters)
    has_nodes = nodes.has_adjacency(case.inputs) and _with_a_row_less(case, 0) is None
    are_apart = reading.has_batch_of_graphs(case.module, [x.ndim for x in case.inputs.tensors()])
    if has_nodes or (nodes.is_graph(case.inputs, names) and not are_apart):
        raise NotApplicable("rows are nodes of a graph")
    output, size = case.run(), batch.batch_size(case.inputs, 0)
    inputs = batch.distinct(case.module, case.inputs, output)
    is_unclear = batch.orders_rows(output, size) or axes.is_listed(output, size)
    if inputs is None or batch.is_added(inputs, case.run(inputs)) or is_unclear:
        raise NotApplicable("which axis of its outputs is the batch, or which row is which, cannot be told")
    is_guess = bool(case.subject.inferred_from)
    case = replace(case, inputs=sets.apart(case.module, inputs, case.run_fresh) if is_guess else inputs)
    rows = batch.axes(case.module, case.inputs)
    are_fixed = is_guess and all(_with_a_row_less(case, axis) is None for axis in rows)
    if are_fixed or any(batch.batch_size(case.inputs, axis) == 1 for axis in rows):
        raise NotApplicable("it was called with one row, or takes no other number of rows")
    loud = [edges.with_a_loud_row(case.inputs, one) for one in rows[:1] if reading.says(case.module, LARGEST)]
    for asked in (case, *(replace(case, inputs=one) for one in (batch.shrunk(case.inputs), *loud))):
        if not (leaks := [(leak, axis) for axis in rows if (leak := _leak(asked, axis)) is not None]):
            raise NotApplicable("no output has a batch axis of at least two rows")
        if all(leak.is_open for leak, _ in leaks):
            if batch.is_one_sample(asked.inputs, case.run_fresh, ranks=(2, 3) if is_guess else (2,)):
                raise NotApplicable("it was called with one sample: its rows are steps, or channels")
            found = _finding(asked, *leaks[0])
            return [] if is_guess and reading.takes_apart(found.file, found.line) else [found]
    return []


def _with_a_row_less(case: Case, axis: int) -> object:
    """The output for all rows but the last; None if it does not take them."""
    with contextlib.suppress(Exception):
        return case.fresh().run(batch.take(case.inputs, batch.batch_size(case.inputs, axis) - 1, axis=axis))
    return None


def _leak(case: Case, axis: int) -> closeness.Gap | None:
    """The widest relative gap over both rows; None when no output can be compared along this axis."""
    before = case.fresh().run(case.inputs)  # what an earlier call left behind is no leak
    if _is_pairwise(case, before, axis):
        return None
    last = batch.batch_size(case.inputs, axis) - 1
    found = [gap for keep in (0, last) for gap in _moved(case, before, keep, axis)]
    return max(found, key=lambda gap: (gap.is_open, gap.max_abs), default=None)


def _moved(case: Case, before: object, keep: int, axis: int) -> Iterator[closeness.Gap]:
    others = batch.replace_other_rows(case.inputs, keep, axis=axis, seed=case.seed)
    size = batch.batch_size(case.inputs, axis)
    after = dict(batch.rows(case.fresh().run(others), keep, axis=axis, size=size))
    for path, row in batch.rows(before, keep, axis=axis, size=size):
        if path in after and tree.is_differentiable(row):
            yield closeness.gap(*closeness.common(row, after[path]), where=f"{path}, row {keep}")


def _is_pairwise(case: Case, output: object, axis: int) -> bool:
    """Whether an output has the batch on two axes (a similarity matrix): seen by running one row less."""
    size = batch.batch_size(case.inputs, axis)
    could_be = any(list(tensor.shape).count(size) > 1 for tensor in tree.tensors(output))
    return could_be and axes.changed(output, _with_a_row_less(case, axis)) > 1


def _finding(case: Case, leak: closeness.Gap, axis: int) -> Finding:
    step = steps.where_rows_meet(lambda: case.fresh().module, case.inputs, axis=axis, seed=case.seed)
    place = (step.file, step.line) if step is not None else source.class_line(type(case.module))
    begins = f"; it starts at {step.operation}()" if step is not None else ""
    is_told = "discriminator" in type(case.module).__name__.lower() and reading.says(case.module, SPREAD)
    return Finding(
        f"{leak.where} moved by {leak.max_abs:.2g} when only other rows changed, limit {leak.limit:.2g}{begins}",
        leak.where,
        *place,
        fix=BY_OPERATION.get(step.operation if step is not None else "", OTHERWISE),
        numbers={"max_abs": leak.max_abs, "limit": leak.limit},
        severity=Severity.NOTE if is_told else None,
    )


@batch_leak.bad("moved by")
class CentersOverBatch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0)


@batch_leak.bad("it starts at lstm()", inputs=lambda: torch.randn(3, 5, 6))
class ForgetsBatchFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        out, _ = self.rnn(x)
        return out[:, -1]


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
class RandomMixUp(nn.Module):
    """An augmentation whose name says that it mixes rows."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.75 * x + 0.25 * x.flip(0)


@batch_leak.good(inputs=lambda: torch.randint(0, 9, (7, 3)))
class TagsTokensTimeFirst(nn.Module):
    """Its output does not say which axis of its tokens is time: an LSTM says the first."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.rnn = nn.Embedding(9, 6), nn.LSTM(6, 5)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.rnn(self.embedding(tokens))[0]


@batch_leak.good(inputs=lambda: torch.randint(0, 9, (7,)))
class TagsOneSentence(nn.Module):
    """Tokens on one axis are the steps of one sentence."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 6)
        self.rnn = nn.LSTM(6, 5)

    def forward(self, sentence: Tensor) -> Tensor:
        embedded = self.embedding(sentence).view(len(sentence), 1, -1)
        return self.rnn(embedded)[0].view(len(sentence), -1)


@batch_leak.good(inputs=lambda: torch.randn(7, 3, 6))
class LoopsOverTime(nn.Module):
    """A loop over the first axis goes over time: the batch is on axis 1."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        state = torch.zeros_like(x[0])
        for step in x:
            state = self.cell(step, state)
        return state


@batch_leak.good(inputs=lambda: (torch.randn(5, 6), torch.rand(5, 5)))
class MessagesAlongEdges(nn.Module):
    """Nodes are not rows of a batch: the matrix says which of them know each other."""

    def forward(self, x: Tensor, a: Tensor) -> Tensor:
        return a @ x


def _graphs() -> tuple[Tensor, Tensor]:
    return torch.randn(3, 5, 6), torch.rand(3, 5, 5)


@batch_leak.bad("it starts at softmax()", inputs=_graphs)
class AttendsToOtherGraphs(nn.Module):
    """x: (batch, nodes, features), adj: (batch, nodes, nodes)."""

    def forward(self, x: Tensor, adj: Tensor) -> Tensor:
        return adj.softmax(0) @ x


@batch_leak.good(inputs=_graphs)
class FollowsAGraphThroughTime(nn.Module):
    """Nothing says that a batch comes first: one graph, at several times."""

    def forward(self, x: Tensor, adj: Tensor) -> Tensor:
        return (adj.softmax(-1) @ x).cumsum(0)


@batch_leak.good
class SimilarityOfPairs(nn.Module):
    """Row i of a batch-by-batch matrix is about all rows, as in CLIP."""

    def forward(self, x: Tensor) -> Tensor:
        return x @ x.T


@batch_leak.good
class WeighedLoss(nn.Module):
    """The sum over all rows, and a number for each row that was made of a guess."""

    def forward(self, x: Tensor) -> Tensor:
        return x.square().sum() - x.mean(-1)


@batch_leak.good(inputs=lambda: torch.randn(8, 5, 5))
class TakesAnImageWithoutItsBatch(nn.Module):
    """Broadcasting makes a batch of one of it: what looks like rows are channels."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, 8, 1, 1))
        self.mix = nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(x * self.scale)


@batch_leak.good(inputs=lambda: (torch.randn(6, 6, 6), torch.randn(6, 6, 6)))
class FoldsStreamsIntoTheBatch(nn.Module):
    """Its output has another first axis: that a later one is as long as the batch is chance."""

    def forward(self, x: Tensor, streams: Tensor) -> Tensor:
        return (x.unsqueeze(2) + streams).flatten(0, 1)


@batch_leak.good(inputs=lambda: (torch.randn(5, 6), torch.randn(5, 6)))
class AttendsToEveryStep(nn.Module):
    """Takes any axes before the last two, so a matrix is one sample: called with a batch, it keeps samples apart."""

    def forward(self, query: Tensor, value: Tensor) -> Tensor:
        return (query @ value.transpose(-2, -1)).softmax(-1) @ value
