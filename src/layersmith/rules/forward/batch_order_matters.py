"""A row's output must not depend on its place in the batch.

## Why it matters
A table of positions that is indexed along the batch, not along the sequence, adds to each sample its number in the
batch. Shapes fit and training runs, but the same sample gets another answer beside other samples.

## How it is tested
In eval mode the rows are given in reverse order: outputs must be the same ones, reversed. Asked where the code leaves
no doubt that axis 0 is the batch: images, `batch_first=True`, `B, T, C = x.shape`, `batch_size = x.size(0)`.

## How to fix it
Index by the axis that positions are counted along: `self.table[: x.shape[1]]` where the batch comes first.

## How to reproduce it
    module.eval()
    turned = run(*(x.flip(0) for x in args)).flip(0)
    assert torch.allclose(run(), turned, rtol=1e-3, atol=1e-5), "a row's place in the batch matters"
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import batch, closeness, source, tree
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case


@rule(
    severity=Severity.ERROR,
    since="0.1",
    promise=Promise.INDEPENDENT_ROWS,
    after=("forward-raises", "nondeterministic-eval", "batch-leak"),
)
def batch_order_matters(case: Case) -> Iterator[Finding]:
    """Reverse the rows; the answers must come in reverse."""
    axis = batch.independent_axis(case.module, case.inputs, case.run)
    if axis != 0 or not batch.is_certain(case.module, case.inputs):
        raise NotApplicable("it is not beyond doubt that axis 0 holds independent rows")
    size = batch.batch_size(case.inputs, 0)
    before, after = (
        dict(tree.named_tensors(case.run(given), name="output"))
        for given in (case.inputs, batch.reversed_rows(case.inputs))
    )
    for path, tensor in before.items():
        if tensor.ndim and tensor.shape[0] == size and path in after:
            gap = closeness.gap(tensor.flip(0), after[path], where=path)
            if gap.is_open:
                yield _finding(case.module, gap)
                return


def _finding(module: nn.Module, gap: closeness.Gap) -> Finding:
    return Finding(
        f"{gap.where} of a row moves by {gap.max_abs:.2g} at another place in the batch, limit {gap.limit:.2g}",
        gap.where,
        *source.class_line(type(module)),
        fix="index positions along their own axis, not along the batch",
        numbers={"max_abs": gap.max_abs, "limit": gap.limit},
    )


@batch_order_matters.bad("at another place in the batch", inputs=lambda: torch.randn(4, 5, 6))
class CountsAlongTheBatch(nn.Module):
    table: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.arange(60.0).view(10, 6).sin())

    def forward(self, x: Tensor) -> Tensor:
        batch, time, _ = x.shape
        return x + self.table[:batch].unsqueeze(1).expand(batch, time, 6)


@batch_order_matters.bad("at another place in the batch", inputs=lambda: torch.randn(3, 2, 5, 5))
class ScalesByRowNumber(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) * torch.arange(len(x), device=x.device).view(-1, 1, 1, 1)


@batch_order_matters.good(inputs=lambda: torch.randn(4, 5, 6))
class CountsAlongTime(nn.Module):
    table: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.arange(60.0).view(10, 6).sin())

    def forward(self, x: Tensor) -> Tensor:
        _batch, time, _ = x.shape
        return x + self.table[:time]


@batch_order_matters.good(inputs=lambda: torch.randn(5, 2, 6))
class TimeComesFirst(nn.Module):
    """PyTorch's own tutorial: the sequence lies along axis 0."""

    table: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.arange(60.0).view(10, 1, 6).sin())

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table[: x.size(0)]
