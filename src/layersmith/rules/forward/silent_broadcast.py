"""Shapes must meet on purpose: a batch of scalars (N) against a column (N, 1) gives an N by N table.

## Why it matters
`prediction - target` with (N, 1) and (N) broadcasts to (N, N): every sample is compared with every other. The mean of
that is a plausible loss which falls to the variance of the targets and stays there. Nothing raises.

## How it is tested
Arithmetic and losses are watched while forward runs in train mode, and again with one row more; also with a target
that it takes and can do without. Reported is an
operation whose result has the batch on two axes, where neither operand had, and one operand has fewer axes than
the other. Pairs that are meant are passed: comparisons, operands that share memory, `unsqueeze` and `[:,
None]`; and inputs whose number of axes is but a guess.

## How to fix it
`prediction.squeeze(-1) - target`, or `target.unsqueeze(-1)`: give both the same number of axes.

## How to reproduce it
    from torch.overrides import TorchFunctionMode
    class Watch(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            sizes = [tuple(x.shape) for x in args if isinstance(x, torch.Tensor)]
            is_wider = len(sizes) == 2 and tuple(result.shape) not in sizes
            assert function.__name__ not in ("add", "sub", "mul", "div") or not is_wider, f"{sizes} broadcast"
            return result
    with Watch(): run()
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.load.targeted import with_target
from layersmith.probe import batch, broadcasts
from layersmith.probe.inputs import Inputs
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.SHAPES_MEANT)
def silent_broadcast(case: Case) -> Iterator[Finding]:
    """Watch two batch sizes; what has the batch on two axes in both is reported, once a line."""
    if batch.batch_size(case.inputs, 0) < 2 or batch.resized(case.inputs, 2, axis=0) is None:  # noqa: PLR2004 - one row has no others
        raise NotApplicable("there is no batch of at least two rows")
    seen: set[tuple[str, int]] = set()
    for one in (*_found(case, case.inputs), *_found(case, with_target(case))):
        is_of_guess = one.are_inputs or one.lacks_axis or one.scales_channels
        is_guessed = bool(case.subject.inferred_from) and is_of_guess
        if not is_guessed and (one.file, one.line) not in seen:
            seen.add((one.file, one.line))
            yield _finding(one)


def _found(case: Case, inputs: Inputs | None) -> list[broadcasts.Square]:
    """What has the batch on two axes with one row more as well."""
    size = batch.batch_size(inputs, 0) if inputs is not None else 0
    more = batch.resized(inputs, size + 1, axis=0) if inputs is not None else None
    if inputs is None or more is None:
        return []
    found = broadcasts.squares(case.fresh(training=True).module, inputs, size)
    again = _again(case, more, size + 1) if found else []
    return [one for one in found if any(one.is_like(other) for other in again)]


def _again(case: Case, inputs: Inputs, size: int) -> list[broadcasts.Square]:
    """The same with another batch; none if it does not take that."""
    try:
        return broadcasts.squares(case.fresh(training=True).module, inputs, size)
    except Exception:  # noqa: BLE001 - that is another rule's business
        return []


def _finding(one: broadcasts.Square) -> Finding:
    left, right = one.shapes
    return Finding(
        f"{one.operation}() of {left} and {right} gives {one.result}: every row of the batch meets every other",
        file=one.file,
        line=one.line,
        fix="give both the same axes: squeeze(-1) the column, or unsqueeze(-1) the other",
    )


@silent_broadcast.bad("gives (4, 4): every row", inputs=lambda: (torch.randn(4, 6), torch.randn(4)))
class ComparesColumnWithRow(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(6, 1)

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        return (self.score(x) - target).square().mean()


@silent_broadcast.bad(
    "gives (4, 4): every row", inputs=lambda: (torch.randn(4, 4), torch.randn(4, 4), torch.randn(4))
)
class LearnsFromTheNextState(nn.Module):
    """Which happens to be of as many numbers as there are rows, and is no table of neighbours."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Linear(4, 1)

    def forward(self, state: Tensor, later: Tensor, reward: Tensor) -> Tensor:
        target = reward * 0.5 + self.value(later).detach()
        return (self.value(state) - target).square().mean()


@silent_broadcast.bad("gives (4, 4): every row")
class ComparesWhenItIsTold(nn.Module):
    """A mean and, with a target of shape (N,), its error."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(6, 1)

    def forward(self, x: Tensor, target: Tensor | None = None) -> Tensor:
        mean = self.score(x)
        return mean.squeeze(-1) if target is None else (target - mean).square().mean()


@silent_broadcast.bad("mul() of (4, 1) and (4,) gives")
class WeighsByColumn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(6, 1)
        self.gate = nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        score = self.score(x).squeeze(-1)
        return (self.gate(x).sigmoid() * score).mean(-1)


@silent_broadcast.good(inputs=lambda: (torch.randn(4, 6), torch.randn(4)))
class ComparesColumns(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(6, 1)

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        return (self.score(x) - target.unsqueeze(-1)).square().mean()


@silent_broadcast.good
class ScalesFeatures(nn.Module):
    """(4, 1) times (4): a column of the batch and a row of features, which happen to be as many."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(6, 1)
        self.scale = nn.Parameter(torch.randn(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.score(x) * self.scale


@silent_broadcast.good
class DistancesOfPairs(nn.Module):
    """Pairs on purpose: `[:, None]` says so."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        score = self.score(x).squeeze(-1)
        other = x.mean(-1)
        return (score[:, None] - other).abs().mean()
