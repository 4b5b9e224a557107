"""Where the length is promised to be free, other lengths must work.

## Why it matters
`Float[Tensor, "batch time dim"]`, where `time` is no argument of the constructor, says that sequences may be of
any length. A mask or table that is made for one length fails on the next, longer, document.

## How it is tested
Asked only of axes that an annotation names as time, sequence, length, steps, frames or tokens, and that no argument
or attribute fixes; and of the sides of images "of any size", and the steps of what is "(B, T, D), of any length", or
of "(batch, grid, 1) on a grid of any resolution", as a docstring says. The example is given one step
shorter and three steps longer; forward must not raise. What it refuses itself, by `assert` or `raise`, passes.

## How to fix it
Take the length from the input: `x.shape[-2]`; or make it an argument of the constructor, of the same name.

## How to reproduce it
    module.eval()
    axis = 2 if args[0].dim() == 4 else 1
    for steps in (args[0].shape[axis] - 1, args[0].shape[axis] + 1):
        order = torch.arange(steps) % args[0].shape[axis]
        module(args[0].index_select(axis, order), *args[1:], **kwargs)
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import annotated, arguments, source
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

CHANGES = (-1, 3)  # steps


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.DECLARED)
def variable_length(case: Case) -> Iterator[Finding]:
    """Change the length of all tensors that share the axis."""
    free = annotated.free_lengths(case.module, case.inputs)
    if not free:
        raise NotApplicable("nothing says that an axis is of free length")
    least = annotated.least_length(case.module)
    for name, places in free.items():
        length = places[0][0].shape[places[0][1]]
        for change in CHANGES:
            if length + change < least:
                continue
            order = torch.arange(length + change) % length
            new = {id(tensor): tensor.detach().index_select(axis, order) for tensor, axis in places}
            try:
                case.run(arguments.replaced(case.inputs, new))
            except Exception as error:  # noqa: BLE001 - whatever it raises breaks the promise
                if not source.is_refusal(error, case.module):
                    yield _finding(error, case.module, name, length, length + change)
                    return


def _finding(error: Exception, module: nn.Module, name: str, length: int, other: int) -> Finding:
    file, line = source.error_line(error, module)
    text = " ".join(str(error).split())
    return Finding(
        f"forward raises {type(error).__name__} with {name} = {other} (it works with {length}): {text:.200}",
        file=file,
        line=line,
        fix="take the length from the input, or name it in the constructor",
    )


@variable_length.bad("with height = 7 (it works with 8)", inputs=lambda: torch.randn(2, 3, 8, 8))
class DoublesWhatWasHalved(nn.Module):
    """Images of any size."""

    def __init__(self) -> None:
        super().__init__()
        self.pool, self.up = nn.MaxPool2d(2), nn.Upsample(scale_factor=2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.up(self.pool(x))


@variable_length.bad("with length = 7 (it works with 8)", inputs=lambda: torch.randn(2, 3, 8))
class DoublesTheStepsThatItHalved(nn.Module):
    """Takes (B, C, T) of any length T >= 4."""

    def __init__(self) -> None:
        super().__init__()
        self.pool, self.up = nn.MaxPool1d(2), nn.Upsample(scale_factor=2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.up(self.pool(x))


@variable_length.bad("with length = 7 (it works with 8)", inputs=lambda: torch.randn(2, 8, 3))
class ForgetsTheOddPoint(nn.Module):
    """x: (batch, grid, channels) on a periodic grid of any resolution."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.fft.irfft(torch.fft.rfft(x, dim=1), dim=1)


@variable_length.good(inputs=lambda: torch.randn(2, 8, 3))
class KeepsTheOddPoint(nn.Module):
    """x: (batch, grid, channels) on a periodic grid of any resolution."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.fft.irfft(torch.fft.rfft(x, dim=1), n=x.shape[1], dim=1)


@variable_length.good(inputs=lambda: torch.randn(2, 3, 8))
class DoublesAnEvenNumberOfSteps(nn.Module):
    """Takes (B, C, T) of any length that is even."""

    def __init__(self) -> None:
        super().__init__()
        self.pool, self.up = nn.MaxPool1d(2), nn.Upsample(scale_factor=2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.up(self.pool(x))


@variable_length.bad("with time = 4 (it works with 5)", inputs=lambda: torch.randn(2, 5, 6))
class MasksFiveSteps(nn.Module):
    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones(5, 5).tril())

    def forward(self, x: Float[Tensor, "batch time dim"]) -> Tensor:
        return self.mask @ x


@variable_length.bad("(it works with 5)", inputs=lambda: torch.randn(2, 5, 6))
class FlattensAllSteps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(30, 2)

    def forward(self, x: Float[Tensor, "batch steps dim"]) -> Tensor:
        return self.linear(x.flatten(1))


@variable_length.good(inputs=lambda: torch.randn(2, 5, 6))
class MasksAsManyAsThereAre(nn.Module):
    def forward(self, x: Float[Tensor, "batch time dim"]) -> Tensor:
        return x.new_ones(x.shape[1], x.shape[1]).tril() @ x


@variable_length.good(inputs=lambda: torch.randn(2, 5, 6))
class IsMadeForOneLength(nn.Module):
    """The constructor has an argument of the axis' name: it is fixed."""

    def __init__(self, time: int = 5) -> None:
        super().__init__()
        self.linear = nn.Linear(time * 6, 2)

    def forward(self, x: Float[Tensor, "batch time dim"]) -> Tensor:
        return self.linear(x.flatten(1))
