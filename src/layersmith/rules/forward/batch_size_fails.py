"""Forward must accept a batch of any size, and answer each row alike in all of them.

## Why it matters
A `squeeze()` without `dim` removes the batch axis of a single row; a size written into a `view` fails on the
last, smaller batch of an epoch. Training often never shows it, the first request in production does.

## How it is tested
The example's rows are given again as batches of 1, 2, 3 and 5, in eval mode. Forward must not raise, outputs must
keep their number of axes, and each row its answer. Only asked where rows are seen to be independent; of an example of
one row, whether three work where two do. What an `assert` or `raise` of the module itself refuses is its contract.

## How to fix it
`squeeze(-1)` instead of `squeeze()`; `x.view(x.shape[0], -1)` or `flatten(1)` instead of a number.

## How to reproduce it
    module.eval()
    for size in (1, 3):
        rows = run(*(x[:size] for x in args))
        assert rows.shape == run()[:size].shape, f"for a batch of {size} the output has shape {tuple(rows.shape)}"
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import axes, batch, closeness, single_rows, source, steps, tree
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

SIZES = (1, 2, 3, 5)
SINGLE = "more than 1 value per channel"  # what torch's norms ask for, of a batch of one where a map ends in one place
REMOVES = ("squeeze", "squeeze_", "squeeze_copy")


@rule(
    severity=Severity.ERROR,
    since="0.1",
    promise=Promise.ANY_BATCH_SIZE,
    after=("forward-raises", "nondeterministic-eval", "batch-leak"),
)
def batch_size_fails(case: Case) -> Iterator[Finding]:
    """Give the rows again in batches of other sizes."""
    if (axis := batch.independent_axis(case.module, case.inputs, case.run)) is None:
        yield from _of_one_row(case)
        return
    outputs = dict(tree.named_tensors(case.run(), name="output"))
    size = batch.batch_size(case.inputs, axis)
    errors: dict[int, Exception] = {}
    for count in SIZES:
        if count == size or (inputs := batch.resized(case.inputs, count, axis=axis)) is None:
            continue
        try:
            output = case.run(inputs)
        except Exception as error:  # noqa: BLE001 - whatever it raises is the finding
            if not (case.subject.inferred_from and SINGLE in str(error)):  # in a larger image it has more
                errors[count] = error
            continue
        if (found := _differs(case, outputs, output, axis, count)) is not None:
            yield found
            return
    yield from _failures(case, errors, size, axis)


def _of_one_row(case: Case) -> Iterator[Finding]:
    """A batch of one is the only one that works, since something of one row is joined to the rows; or two do."""
    if (error := single_rows.joined(case.inputs, case.error)) is not None:
        yield from _failures(case, {2: error}, 1, 0, is_joined=True)
    elif (error := single_rows.third(case.module, case.inputs, case.error)) is not None:
        yield _raised(case, 3, error, "it works with 1 and 2")
    else:
        raise NotApplicable("no axis is seen to hold independent rows")


def _differs(case: Case, outputs: Mapping[str, Tensor], output: Any, axis: int, count: int) -> Finding | None:
    """The first output that has another rank, or another answer for a row, in the other batch."""
    size = batch.batch_size(case.inputs, axis)
    for path, tensor in tree.named_tensors(output, name="output"):
        full = outputs.get(path)
        if full is None or axis >= full.ndim or full.shape[axis] != size:
            continue
        if tensor.ndim != full.ndim:
            return _rank(case, path, tensor, full, axis, count)
        if tensor.ndim <= axis or tensor.shape[axis] != count or axes.changed(full, tensor) > 1:
            continue
        one, other = (rows.narrow(axis, 0, min(count, size)) for rows in (full, tensor))  # at the same places
        gap = closeness.gap(one, other, where=path)
        if gap.is_open:
            return Finding(
                f"in a batch of {count}, {path} of a row differs by {gap.max_abs:.2g} from a batch of {size}, "
                f"limit {gap.limit:.2g}",
                path,
                *source.class_line(type(case.module)),
                fix="divide by sizes of the row, not by the batch's",
                numbers={"max_abs": gap.max_abs, "limit": gap.limit},
            )
    return None


def _rank(case: Case, path: str, tensor: Tensor, full: Tensor, axis: int, count: int) -> Finding:
    inputs = batch.resized(case.inputs, count, axis=axis) or case.inputs
    seen = steps.watched(case.fresh().module, inputs, lambda _: None)
    step = next((one for one in seen if one.operation in REMOVES and one.line), None)
    place = (step.file, step.line) if step is not None else source.class_line(type(case.module))
    return Finding(
        f"{path} is {tuple(tensor.shape)} for a batch of {count}, {tuple(full.shape)} for one of {full.shape[axis]}",
        path,
        *place,
        fix="name the axis: squeeze(-1), not squeeze()",
    )


def _failures(
    case: Case, errors: Mapping[int, Exception], size: int, axis: int, *, is_joined: bool = False
) -> Iterator[Finding]:
    """What the errors at some sizes say; if only the example's size works, the axis must be beyond doubt."""
    is_only = is_joined or set(SIZES) - {1, size} <= errors.keys()
    is_certain = is_joined or (axis == 0 and batch.is_certain(case.module, case.inputs))
    is_doubtful = is_only and not is_certain
    if not errors or is_doubtful or any(source.is_refusal(error, case.module) for error in errors.values()):
        return
    count, error = next(iter(errors.items()))
    yield _raised(case, count, error, f"only a batch of {size} works" if is_only else f"it works with {size}")


def _raised(case: Case, count: int, error: Exception, works: str) -> Finding:
    file, line = source.error_line(error, case.module)
    return Finding(
        f"forward raised {type(error).__name__} for a batch of {count} ({works}): {' '.join(str(error).split()):.200}",
        file=file,
        line=line,
        fix="take sizes from the input: x.shape[0], flatten(1), squeeze(-1)",
    )


@batch_size_fails.bad("is () for a batch of 1")
class SqueezesTheBatch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.score(x).squeeze()


@batch_size_fails.bad("raised RuntimeError for a batch of 1")
class FoldsPairsOfRows(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.view(2, -1, 6).relu().view(-1, 6)


@batch_size_fails.bad("a batch of 2 (only a batch of 1 works)", inputs=lambda: torch.randn(1, 5, 6))
class JoinsOneToken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, 6))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.token, x], dim=1)


@batch_size_fails.bad("a batch of 3 (it works with 1 and 2)", inputs=lambda: torch.randn(1, 1, 6))
class GathersTwoScores(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        scores = x[:1].square().mean()
        for row in x[1:]:
            scores = torch.cat([scores.view(1), row.square().mean().view(1)])
        return scores.view(-1)


@batch_size_fails.good(inputs=lambda: torch.randn(1, 1, 6))
class GathersAllScores(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([row.square().mean() for row in x])


@batch_size_fails.good(inputs=lambda: (torch.randint(9, (1,)), torch.randn(1, 1, 6)))
class DecodesOneStep(nn.Module):
    """The context has one layer before its one row: a second would be no second row."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.rnn = nn.Embedding(9, 6), nn.GRU(12, 6)
        nn.init.normal_(self.embedding.weight, std=0.1)

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        x = torch.cat([self.embedding(tokens[None]), context], dim=2)
        return self.rnn(x)[0]


@batch_size_fails.good(inputs=lambda: torch.randn(1, 5, 6))
class JoinsATokenToEach(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, 6))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.token.expand(len(x), 1, 6), x], dim=1)


@batch_size_fails.good
class SqueezesTheScore(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.score(x).squeeze(-1)


@batch_size_fails.good
class AnswersInDouble(nn.Module):
    """What it answers is float64, and as fine as the float32 that it was computed in."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv1d(64, 64, 3, padding=1)
        self.score = nn.Linear(64, 64)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mix(x.repeat_interleave(11, dim=1)[:, :64, None].expand(-1, -1, 9)).mean(-1)
        return self.score(x).double().sigmoid()


@batch_size_fails.good
class RefusesOddBatches(nn.Module):
    """Says itself which batches it takes."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] % 2:
            raise ValueError("rows come in pairs")
        return x.relu()


@batch_size_fails.good(inputs=lambda: torch.randn(7, 6))
class OnePositionARow(nn.Module):
    """Without a batch: rows are positions."""

    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.zeros(7, 6))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.positions


@batch_size_fails.good(inputs=lambda: torch.randn(5, 6))
class ComparesAllRows(nn.Module):
    """Rows by rows: both axes grow with the batch."""

    def forward(self, x: Tensor) -> Tensor:
        near = nn.functional.normalize(x, dim=-1)
        return near @ near.mT
