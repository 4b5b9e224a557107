"""Where sides that are all odd work, and sides that are all even, any mixture of them must.

## Why it matters
Padding to a multiple of two that gives the rows what the columns need is right for squares, and for whatever needs the
same on every side. The first image of another shape crashes it.

## How it is tested
The sides of the example's images, behind the channels or before them, are made all odd, then all even. Where forward
takes both, it is given images with one odd side among even ones, and one even side among odd ones. It must not raise.
What it refuses itself, by `assert` or `raise`, passes.

## How to fix it
Pad each side by what that side lacks; `F.pad` counts from the last axis.

## How to reproduce it
    x = args[0]
    axes = range(2, x.dim()) if where.endswith("behind the channels") else range(1, x.dim() - 1)
    for odd in axes if where else ():
        for base in (1, 0):
            sides = {axis: x.shape[axis] // 2 * 2 + (base if axis != odd else 1 - base) for axis in axes}
            y = x
            for axis, side in sides.items():
                y = y.index_select(axis, torch.arange(side) % x.shape[axis])
            module(y, *args[1:], **kwargs)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import source
from layersmith.probe.inputs import Inputs
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

IMAGE = 4  # axes
SIDES = {
    "behind the channels": (2, 0),
    "before the channels": (1, 1),
}  # the first of them, and axes that follow


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.CALLABLE)
def uneven_sides(case: Case) -> Iterator[Finding]:
    """Ask for both layouts of an image; one finding for the first mixture that fails."""
    image = next((tensor for tensor in case.inputs.tensors() if tensor.ndim >= IMAGE), None)
    if image is None or not image.is_floating_point():
        raise NotApplicable("no input is an image")
    for layout, (first, after) in SIDES.items():
        axes = range(first, image.ndim - after)
        even = {axis: image.shape[axis] // 2 * 2 for axis in axes}
        odd = {axis: side + 1 for axis, side in even.items()}
        if min(even.values()) < IMAGE or any(_error(case, image, sides) is not None for sides in (odd, even)):
            continue
        for most, other in ((even, odd), (odd, even)):
            for axis in axes:
                mixed = {**most, axis: other[axis]}
                error = _error(case, image, mixed)
                if error is not None and not source.is_refusal(error, case.module):
                    yield _finding(
                        case.module, layout, error, [*mixed.values()], [*odd.values()], [*even.values()]
                    )
                    return


def _error(case: Case, image: Tensor, sides: Mapping[int, int]) -> Exception | None:
    """What forward raises if the images have these sides."""
    try:
        case.run(_with_sides(case.inputs, image, sides))
    except Exception as error:  # noqa: BLE001 - whatever it raises is asked for
        return error
    return None


def _with_sides(inputs: Inputs, image: Tensor, sides: Mapping[int, int]) -> Inputs:
    """The inputs with every tensor that is as large as the image given these sides."""

    def resized(tensor: Tensor) -> Tensor:
        if any(axis >= tensor.ndim or tensor.shape[axis] != image.shape[axis] for axis in sides):
            return tensor
        for axis, side in sides.items():
            tensor = tensor.index_select(axis, torch.arange(side) % image.shape[axis])
        return tensor

    return inputs.map(resized)


def _finding(
    module: nn.Module, layout: str, error: Exception, mixed: list[int], odd: list[int], even: list[int]
) -> Finding:
    file, line = source.error_line(error, module)
    text = " ".join(str(error).split())
    return Finding(
        f"forward raises {type(error).__name__} with sides {mixed}, though it works with {odd} and {even}: {text:.200}",
        where=f"sides {layout}",
        file=file,
        line=line,
        fix="pad each side by what that side lacks",
    )


def _images() -> Tensor:
    return torch.randn(2, 3, 6, 8)


@uneven_sides.bad("with sides [7, 8], though it works with [7, 9] and [6, 8]", inputs=_images)
class PadsRowsLikeColumns(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        rows, columns = x.shape[-2:]
        x = nn.functional.pad(x, (0, rows % 2, 0, columns % 2))
        return torch.cat([x[..., 0::2, :], x[..., 1::2, :]], dim=1)


@uneven_sides.bad("with sides [7, 8]", inputs=lambda: torch.randn(2, 6, 8, 3))
class MergesPatches(nn.Module):
    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] % 2 and x.shape[2] % 2:
            x = nn.functional.pad(x, (0, 0, 0, 1, 0, 1))
        return self.linear(torch.cat([x[:, 0::2], x[:, 1::2]], dim=-1))


@uneven_sides.good(inputs=_images)
class PadsEachSide(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        rows, columns = x.shape[-2:]
        x = nn.functional.pad(x, (0, columns % 2, 0, rows % 2))
        return torch.cat([x[..., 0::2, :], x[..., 1::2, :]], dim=1)


@uneven_sides.good(inputs=_images)
class TakesEvenSidesOnly(nn.Module):
    """Odd sides are none of its business."""

    def forward(self, x: Tensor) -> Tensor:
        return x[..., 0::2, :] - x[..., 1::2, :]
