"""Forward must take the shapes that its documentation gives.

## Why it matters
"x: (batch, time, width), condition: (batch, width)" is what callers will pass. A missing `unsqueeze(1)` makes
forward want one condition a step instead: it runs as long as there are as many rows as steps, and mixes them.

## How it is tested
Asked where docstrings or comments give two inputs an axis of the same name. Where the call that was found to work has
two sizes for it, both get the first of these; where it has the size of an axis of another name, as if that were a
condition, both get more. Forward must not raise. Where the widths were guessed, a layer that asks for another passes.

## How to fix it
Insert the axis that is missing: `condition.unsqueeze(1)`; or mend the documentation.

## How to reproduce it
    tensors = [x for x in args if isinstance(x, torch.Tensor)]
    rows = min(len(x) for x in tensors)
    if where:
        run(*(x[:rows] if isinstance(x, torch.Tensor) else x for x in args))
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.load.call.stated import documented_axes
from layersmith.probe import arguments, refusal, source, wording
from layersmith.probe.inputs import Inputs
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

MORE = 4  # places of an axis


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.CALLABLE, after=("forward-raises",))
def documented_shapes_fail(case: Case) -> Iterator[Finding]:
    """Give every axis of one name one size."""
    cls: type = type(case.module)
    stated = {
        name: axes
        for _, name, tensor in arguments.named(case.module, case.inputs)
        if len(axes := documented_axes(cls, name)) == tensor.ndim and all(map(str.isidentifier, axes))
    }
    asked = _agreeing(case, stated) or _apart(case, stated)
    if asked is None:
        raise NotApplicable("the axes of one documented name have one size, and those of two have two")
    try:
        case.run(asked)
    except Exception as error:  # whatever forward raises
        if case.subject.inferred_from and (refusal.is_of_width(error) or _is_partly_said(case, stated)):
            raise NotApplicable(
                "the widths with which it was built are a guess, and others would agree"
            ) from error
        file = source.file_of(cls)
        shapes = ", ".join(f"{name} ({', '.join(axes)})" for name, axes in stated.items())
        yield Finding(
            f"forward raises for the shapes that its documentation gives, {shapes}: {wording.short(error)}",
            where=", ".join(stated),
            file=file,
            line=refusal.line_of(error, file) or source.class_line(cls)[1],
            fix="insert the axis that is missing, or mend the documentation",
        )


def _is_partly_said(case: Case, stated: dict[str, tuple[str, ...]]) -> bool:
    """Whether the axes of one input only are named, so that what others have to share with it is a guess."""
    return len(stated) < sum(1 for _ in case.inputs.tensors())


def _agreeing(case: Case, stated: dict[str, tuple[str, ...]]) -> Inputs | None:
    """The call with one size for each name: the first; None where that is so already."""
    sizes: dict[str, int] = {}
    new: dict[int, Tensor] = {}
    for _, name, tensor in arguments.named(case.module, case.inputs):
        for axis, letter in enumerate(stated.get(name, ())):
            size = sizes.setdefault(letter, tensor.shape[axis])
            if size != tensor.shape[axis]:
                old = new.get(id(tensor), tensor)
                new[id(tensor)] = old.index_select(axis, torch.arange(size) % old.shape[axis])
    return arguments.replaced(case.inputs, new) if new else None


def _apart(case: Case, stated: dict[str, tuple[str, ...]]) -> Inputs | None:
    """The call with a size of its own for a name that two inputs share; None where each has one, or is no guess."""
    tensors = {
        name: tensor for _, name, tensor in arguments.named(case.module, case.inputs) if name in stated
    }
    sizes = {letter: tensors[name].shape[axis] for name in stated for axis, letter in enumerate(stated[name])}
    shared = [
        letter for letter in sizes if all(letter in axes for axes in stated.values()) and len(stated) > 1
    ]
    alike = [x for x in shared if any(sizes[x] == sizes[y] for y in sizes if y not in shared)]
    if not alike or not case.subject.inferred_from:
        return None
    new = dict(tensors)
    for name, axes in stated.items():
        places = torch.arange(sizes[alike[0]] + MORE) % sizes[alike[0]]
        for axis in (axis for axis, letter in enumerate(axes) if letter == alike[0]):
            new[name] = new[name].index_select(axis, places)
    return arguments.replaced(case.inputs, {id(tensors[name]): new[name] for name in stated})


def _one_a_step() -> tuple[Tensor, Tensor]:
    return torch.randn(4, 7, 6), torch.randn(7, 6)


@documented_shapes_fail.bad("forward raises for the shapes that its documentation gives", inputs=_one_a_step)
class ScalesBySteps(nn.Module):
    """x: (batch, time, width), condition: (batch, width)."""

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        return x * (1 + condition)


@documented_shapes_fail.bad("x (batch, time, width), gate (batch, time)", inputs=_one_a_step)
class GatesBySteps(nn.Module):
    """Gates every step.

    Args:
        x: of shape (batch, time, width).
        gate: of shape (batch, time).
    """

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        return x.mT @ gate.sigmoid()


@documented_shapes_fail.good(inputs=_one_a_step)
class AddsPositions(nn.Module):
    """x: (batch, time, width), positions: (time, width)."""

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        return x + positions
