"""Forward must not change its arguments in place.

## Why it matters
The caller still holds the tensor: a residual connection around the layer, a second metric on the same batch,
or a dataset held in memory then sees other numbers, without any error.

## How it is tested
The inputs are compared with a copy taken before the call, in eval and in train mode. A change that comes only from a
submodule with `inplace=True` is declared by its author and not reported.

## How to fix it
Use the operation without the underscore (`x = x + 1`, not `x += 1`), or `x = x.clone()` first.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import closeness, source
from layersmith.probe.surroundings import preserved
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.INPUTS_UNTOUCHED)
def input_modified(case: Case) -> Iterator[Finding]:
    """Call it on a copy of the inputs and look at the copy."""
    for training in (False, True):
        changed = [gap for gap in _changed(case.fresh(training=training)) if gap.max_abs > 0]
        if changed:
            yield from (_finding(case, gap) for gap in changed)
            return


def _changed(case: Case) -> list[closeness.Gap]:
    for module in case.module.modules():
        if getattr(module, "inplace", False) is True:
            module.inplace = False  # type: ignore[assignment]
    held = case.inputs.clone()
    with preserved(seed=case.seed):
        case.module(*held.args, **held.kwargs)
    pairs = zip(case.inputs.named_tensors(), held.named_tensors(), strict=False)
    return [closeness.gap(before, after, where=path) for (path, before), (_, after) in pairs]


def _finding(case: Case, gap: closeness.Gap) -> Finding:
    file, line = source.class_line(type(case.module))
    return Finding(
        f"forward changed {gap.where} in place, by up to {gap.max_abs:.2g}",
        where=gap.where,
        file=file,
        line=line,
        fix="use the out-of-place operation, or x = x.clone() first",
        numbers={"max_abs": gap.max_abs, "limit": 0.0},
    )


@input_modified.bad("changed input[0] in place")
class AddsInPlace(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x += 1.0
        return x


@input_modified.bad("changed input[0] in place")
class MasksInPlace(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x[x < 0] = 0.0
        return x * 2


@input_modified.good
class AddsToACopy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x = x.clone()
        x += 1.0
        return x


@input_modified.good
class SaysThatItIsInPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(x)
