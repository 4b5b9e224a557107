"""An output that is said to have the batch as its first axis must have it.

## Why it matters
`boxes.reshape(-1, 4)` where `boxes.reshape(batch, -1, 4)` was meant joins the boxes of all images: what comes next takes
another's for its own, and with a batch of one nothing is to be seen.

## How it is tested
Asked where a docstring gives the axes of as many outputs as there are, each beginning with the batch: "returns
(B, T, D)". With two batch sizes, an output must have as many rows as the batch, not a multiple of it.

## How to fix it
Keep the axis, `.reshape(len(x), -1, 4)`, `.flatten(1)`; or mend the documentation.

## How to reproduce it
    outputs = module(*args, **kwargs)
    outputs = [outputs] if isinstance(outputs, torch.Tensor) else [y for y in outputs if isinstance(y, torch.Tensor)]
    rows = [len(y) for y in outputs]
    assert set(rows) == {len(args[0])}, f"{rows} rows of a batch of {len(args[0])}"
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.load.call.stated import documented_outputs
from layersmith.probe import batch, source, tree
from layersmith.probe.inputs import Inputs
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.SHAPES_MEANT)
def lost_batch_axis(case: Case) -> Iterator[Finding]:
    """Count the rows of outputs that are said to be as many as the batch."""
    cls: type = type(case.module)
    stated = documented_outputs(cls)
    size = batch.batch_size(case.inputs, 0)
    outputs = [*tree.named_tensors(case.run() if stated else None, name="output")]
    more = batch.resized(case.inputs, size + 1, axis=0) if stated and size > 1 else None
    if len(stated) != len(outputs) or more is None:
        raise NotApplicable("no docstring says that its outputs begin with the batch")
    others = _rows(case, more)
    for (path, output), axes in zip(outputs, stated, strict=True):
        rows = len(output) if output.ndim else 0
        if rows > size and rows % size == 0 and others.get(path) == rows // size * (size + 1):
            file, line = source.class_line(cls)
            yield Finding(
                f"{path} is said to be ({', '.join(axes)}), and is {tuple(output.shape)} of a batch of {size}: the batch "
                "is joined with another axis",
                where=path,
                file=file,
                line=line,
                fix="keep the batch as an axis of its own: .reshape(len(x), -1, ...)",
                numbers={"rows": rows, "batch": size},
            )


def _rows(case: Case, inputs: Inputs) -> dict[str, int]:
    """How many rows each output of another batch has; none of one that is refused."""
    try:
        output = case.run_fresh(inputs)
    except Exception:  # noqa: BLE001 - that it takes no other batch is another rule's business
        return {}
    return {path: len(one) for path, one in tree.named_tensors(output, name="output") if one.ndim}


@lost_batch_axis.bad("output[1] is said to be (B, boxes, 4)", inputs=lambda: torch.randn(3, 6, 5, 5))
class JoinsBoxesOfAllImages(nn.Module):
    """Maps in, (B, boxes, classes) and (B, boxes, 4) out."""

    def __init__(self) -> None:
        super().__init__()
        self.classes, self.boxes = nn.Conv2d(6, 4, 1), nn.Conv2d(6, 8, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        classes = self.classes(x).permute(0, 2, 3, 1).reshape(len(x), -1, 2)
        return classes, self.boxes(x).permute(0, 2, 3, 1).reshape(-1, 4)


class _Joins(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x).reshape(-1, 4)


@lost_batch_axis.bad("the batch is joined with another axis", inputs=lambda: torch.randn(3, 7, 6))
class JoinsSteps(_Joins):
    """Scores steps: returns (batch, steps, classes)."""


@lost_batch_axis.good(inputs=lambda: torch.randn(3, 7, 6))
class JoinsStepsAsItSays(_Joins):
    """Scores steps: returns (batch * steps, classes), as a cross entropy wants them."""


@lost_batch_axis.good(inputs=lambda: torch.randn(3, 7, 6))
class KeepsItsBatch(_Joins):
    """Scores heads: returns (batch, steps * heads)."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x).flatten(1)
