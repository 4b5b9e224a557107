"""What a function takes apart, its counterpart must put together as it was.

## Why it matters
`window_reverse` that counts windows by rows where `window_partition` counts them by columns gives an image of the right
shape with its windows in other places. It is right for squares, so that it passes the first test, and nothing raises.

## How it is tested
Functions and methods that forward calls, whose names differ by such a pair of words only (partition and reverse or
merge, patchify and unpatchify, split and merge or combine, pack and unpack, shuffle and unshuffle), are called one after
the other with the arguments that they had, and nothing in between. Where both only move numbers, and the shape is that
of before, the numbers must be where they were. Where the input is a square plane, it is asked with a rectangle, too.

## How to fix it
Undo the steps in reverse order: what was `view(B, H // w, w, W // w, w, C)` is put together from
`view(B, H // w, W // w, w, w, C)` by the same `permute(0, 1, 3, 2, 4, 5)`.

## How to reproduce it
    from layersmith.probe.inputs import Inputs
    from layersmith.probe.roundtrip import unrestored
    with torch.no_grad():
        found = unrestored(module.eval(), Inputs(args, kwargs))
    assert not found, f"{found[0].back}() does not undo {found[0].there}()"
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import roundtrip, sides
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.SHAPES_MEANT, after=("forward-raises",))
def misplaced_parts(case: Case) -> Iterator[Finding]:
    """Take apart and put together, as forward does it."""
    seen: set[str] = set()
    for inputs in (case.inputs, sides.rectangle(case.inputs)):
        try:
            found = roundtrip.unrestored(case.fresh().module, inputs) if inputs is not None else []
        except Exception:  # noqa: BLE001 - it need not take a rectangle
            found = []
        for one in found:
            if one.back not in seen:
                seen.add(one.back)
                yield Finding(
                    f"{one.back}() does not undo {one.there}(): what was taken apart comes back in other places",
                    file=one.file,
                    line=one.line,
                    fix=f"undo the steps of {one.there}() in reverse order",
                )


def _cut_partition(x: Tensor, size: int) -> Tensor:
    rows, height, width, features = x.shape
    x = x.view(rows, height // size, size, width // size, size, features)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, size * size, features)


def _cut_reverse(parts: Tensor, size: int, height: int, width: int) -> Tensor:
    x = parts.view(-1, width // size, height // size, size, size, parts.shape[-1])
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, height, width, parts.shape[-1])


@misplaced_parts.bad("_cut_reverse() does not undo _cut_partition()", inputs=lambda: torch.randn(2, 6, 2, 4))
class WorksInWindows(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.mix(_cut_partition(x, 2))
        return x + _cut_reverse(parts, 2, x.shape[1], x.shape[2])


@misplaced_parts.bad("merge_heads() does not undo split_heads()", inputs=lambda: torch.randn(2, 5, 6))
class MergesInAnotherOrder(nn.Module):
    """The features come back in another order than that of the shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(3, 3)

    def split_heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], 2, 3).transpose(1, 2)

    def merge_heads(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).flatten(2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.merge_heads(self.mix(self.split_heads(x)))


@misplaced_parts.good(inputs=lambda: torch.randn(2, 5, 6))
class SplitsAndMerges(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(3, 3)

    def split_heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], 2, 3).transpose(1, 2)

    def merge_heads(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2).flatten(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.merge_heads(self.mix(self.split_heads(x)))


@misplaced_parts.good(inputs=lambda: torch.randn(2, 6, 6))
class ProjectsWhereItSplits(nn.Module):
    """What splits also maps: there is nothing to come back."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.after = nn.Linear(6, 6), nn.Linear(6, 6)

    def split_heads(self, x: Tensor) -> Tensor:
        return self.before(x).unflatten(-1, (2, 3)).transpose(1, 2)

    def merge_heads(self, x: Tensor) -> Tensor:
        return self.after(x.transpose(1, 2).flatten(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.merge_heads(self.split_heads(x).tanh())
