r"""Forward must take the least size of an axis that its documentation promises.

## Why it matters
"(B, C, T), T >= 1" is what callers rely on: a word of one letter, a recording of one frame. A kernel that is wider than
the input raises there, and a deviation over a single step is NaN; both happen once in a thousand batches, at night.

## How it is tested
Asked where a docstring gives the axes of an input and the least size of one of them (`T >= 1`, "at least one frame").
The axis gets this size. Forward must not raise, and what was finite must stay so.

## How to fix it
Pad what is too short; `correction=0` for a deviation that may be of one step; or mend the documentation.

## How to reproduce it
    import re
    name, size = re.search(r"(\w+) *>= *(\d+)", type(module).__doc__).groups()
    axes = re.search(rf"\(([^()]*\b{name}\b[^()]*)\)", type(module).__doc__)[1].split(",")
    axis = [one.strip() for one in axes].index(name)
    y = run(args[0].narrow(axis, 0, int(size)), *args[1:])
    assert y.isfinite().all(), f"not finite with {name} = {size}"
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.load.call.stated import documented_axes, documented_least
from layersmith.probe import arguments, options, refusal, source, tree, wording
from layersmith.probe.inputs import Inputs
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.CALLABLE, after=("forward-raises",))
def least_size_fails(case: Case) -> Iterator[Finding]:
    """Make each such axis as short as it may be."""
    cls: type = type(case.module)
    own = options.names(cls)  # `dim >= 2` is then said of the argument
    least = {name: size for name, size in documented_least(cls).items() if name not in own}
    shorter = [(name, size, _shortened(case, name, size)) for name, size in least.items()]
    asked = [(name, size, inputs) for name, size, inputs in shorter if inputs is not None]
    if not asked:
        raise NotApplicable("no least size of an axis is documented")
    file, start = source.class_line(cls)
    for name, size, inputs in asked:
        line = start
        try:
            with torch.no_grad():
                is_finite = tree.is_finite(case.run_fresh(inputs)) or not tree.is_finite(
                    case.run_fresh(case.inputs)
                )
            what = "" if is_finite else "an output is not finite"
        except Exception as error:  # noqa: BLE001 - whatever forward raises
            what, line = f"forward raises: {wording.short(error)}", refusal.line_of(error, file) or start
        if what:
            yield Finding(
                f"with {name} = {size}, which its documentation promises, {what}",
                where=name,
                file=file,
                line=line,
                fix="pad what is too short, correction=0 for a single step; or mend the documentation",
            )


def _shortened(case: Case, letter: str, size: int) -> Inputs | None:
    """The call with that axis of that size; None where no input has it, or more of it."""
    named = [*arguments.named(case.module, case.inputs)]
    new: dict[int, Tensor] = {}
    for _, name, tensor in named:
        axes = documented_axes(type(case.module), name, is_only=len(named) == 1)
        if letter in axes and len(axes) == tensor.ndim and tensor.shape[axes.index(letter)] > size > 0:
            new[id(tensor)] = tensor.narrow(axes.index(letter), 0, size).clone()
    return arguments.replaced(case.inputs, new) if new else None


@least_size_fails.bad(
    "with length = 1, which its documentation promises, forward raises",
    inputs=lambda: torch.randint(0, 9, (3, 7)),
)
class ConvolvesWords(nn.Module):
    """Characters to one vector.

    chars: (batch, length) integers, any length >= 1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.conv = nn.Embedding(9, 4), nn.Conv1d(4, 6, 3)

    def forward(self, chars: Tensor) -> Tensor:
        return self.conv(self.embed(chars).mT).amax(-1)


@least_size_fails.bad("with T = 1, which its documentation promises, an output is not finite")
class PoolsStatistics(nn.Module):
    """Mean and deviation over time: (B, T) -> (B,), T >= 1."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(-1) + x.std(-1)


@least_size_fails.bad("with frames = 1", inputs=lambda: torch.randn(3, 4, 7))
class PoolsFrames(nn.Module):
    """Deviation over time: (B, channels, frames) with at least one frame."""

    def forward(self, x: Tensor) -> Tensor:
        return (x.var(-1) + 1e-5).sqrt()


@least_size_fails.good
class PoolsBiasedStatistics(nn.Module):
    """Mean and deviation over time: (B, T) -> (B,), T >= 1."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(-1) + x.std(-1, correction=0)


@least_size_fails.good
class NeedsTwoSteps(nn.Module):
    """Differences: (B, T) -> (B, T - 1), T >= 2."""

    def forward(self, x: Tensor) -> Tensor:
        return x.diff(dim=-1)
