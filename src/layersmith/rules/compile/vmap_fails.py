"""torch.func.vmap should be able to take the batch apart.

## Why it matters
`vmap` over samples gives gradients per sample (differential privacy, influence, meta-learning) and ensembles without
loops. It needs forward to be a function of tensors: no `.item()`, no branch on values, no write to a tensor of
another batch.

## How it is tested
In eval mode each row, as a batch of one, through `vmap(functional_call(module, ...))` against the rows one by one.
Modules whose first axis is not known to be a batch, or that refuse a batch of one, are not asked; nor is what torch has
no batching rule for.

## How to fix it
Write `x = torch.where(...)` for branches and `x = x.index_put(...)` or a new tensor for writes in place.

## How to reproduce it
    torch.vmap(lambda *row: run(*(x.unsqueeze(0) for x in row)))(*args)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import batch, closeness, source, wording
from layersmith.probe.inputs import Inputs
from layersmith.probe.surroundings import preserved
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

TORCHS_OWN_LIMITS = (
    "Batching rule not implemented",
    "vmap over torch.allclose",
    "does not have vmap support",
    "autograd.Function with functorch",  # one without setup_context, as most are
)


@rule(
    severity=Severity.NOTE,
    since="0.1",
    promise=Promise.COMPILES,
    after=("forward-raises", "graph-break", "batch-leak"),
)
def vmap_fails(case: Case) -> Iterator[Finding]:
    """One row at a time, all at once: it must neither raise nor differ."""
    axis = _axis(case)
    apart = [_row(case.inputs, index, axis) for index in range(batch.batch_size(case.inputs, axis))]
    try:
        expected = [case.run(row) for row in apart]
    except Exception as error:
        raise NotApplicable("it refuses a batch of one") from error
    if not all(isinstance(one, Tensor) for one in expected):
        raise NotApplicable("its output is not one tensor")
    try:
        got = _mapped(case, axis)
    except Exception as error:
        if any(limit in str(error) for limit in TORCHS_OWN_LIMITS):
            raise NotApplicable(
                "torch cannot take one of its operations, or its autograd.Function, apart"
            ) from error
        yield _finding(case.module, error)
        return
    for gap in closeness.gaps(torch.stack(expected), got)[:1]:
        yield Finding(
            f"through vmap {gap.where} differs {gap.extent}",
            gap.where,
            *source.class_line(type(case.module)),
            numbers={"max_abs": gap.max_abs, "limit": gap.limit},
        )


def _axis(case: Case) -> int:
    axes = batch.axes(case.module, case.inputs)
    if len(axes) != 1 or batch.batch_size(case.inputs, axes[0]) < 2:  # noqa: PLR2004 - nothing to take apart
        raise NotApplicable("it is not clear which axis is the batch")
    return axes[0]


def _row(inputs: Inputs, index: int, axis: int) -> Inputs:
    """A batch of one."""
    return inputs.map(lambda x: x.narrow(axis, index, 1) if _has_batch(inputs, x, axis) else x)


def _has_batch(inputs: Inputs, tensor: Tensor, axis: int) -> bool:
    return tensor.ndim > axis and tensor.shape[axis] == batch.batch_size(inputs, axis)


def _mapped(case: Case, axis: int) -> Any:
    inputs = case.inputs.clone()
    batched = [x for x in inputs.tensors() if _has_batch(inputs, x, axis)]
    state = {**dict(case.module.named_parameters()), **dict(case.module.named_buffers())}

    def one(*rows: Tensor) -> Any:
        taken = iter(rows)
        row = inputs.map(lambda x: next(taken).unsqueeze(axis) if _has_batch(inputs, x, axis) else x)
        return torch.func.functional_call(case.module, state, row.args, dict(row.kwargs))

    with preserved(seed=case.seed), torch.no_grad():
        return torch.func.vmap(one, in_dims=axis, randomness="same")(*batched)


def _finding(module: nn.Module, error: Exception) -> Finding:
    text = wording.first_line(str(error)) or type(error).__name__
    return Finding(
        f"vmap over its batch fails: {text}"[:300],
        "",
        *source.error_line(error, module),
        fix="new tensors in place of writes, torch.where in place of branches on values",
    )


@vmap_fails.bad("vmap over its batch fails")
class WritesIntoZeros(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        padded = torch.zeros(x.shape[0], 8)
        padded[:, 1:7] = x
        return padded


@vmap_fails.bad("vmap over its batch fails")
class AddsToZeros(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(6, 6) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        total = torch.zeros(x.shape)
        for head in self.heads:
            total += head(x)
        return total


@vmap_fails.good
class PadsWithANewTensor(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pad(x, (1, 1))
