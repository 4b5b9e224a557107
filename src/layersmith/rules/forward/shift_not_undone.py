"""What is rolled one way must not be rolled the same way again where it shall come back.

## Why it matters
Shifted windows roll the steps by `-shift`, attend within windows, and roll back by `+shift`. With the sign forgotten in
the second roll each output belongs to another step than its input; a residual sum hides it, and it trains a little.

## How it is tested
`torch.roll` is watched during one call. Reported is one of what an earlier roll in the same function has gone into, with
the same shift along the same axes, where nothing rolled it back between them.

## How to fix it
`torch.roll(x, shifts=(shift, shift), dims=(1, 2))`: the second has the other sign.

## How to reproduce it
    rolls = []
    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            if function.__name__ == "roll":
                rolls.append(str((args[1:], kwargs)))
            return function(*args, **(kwargs or {}))
    with Watch(): run()
    assert not any(one == other for one, other in zip(rolls, rolls[1:])), "rolled the same way twice"
"""

from __future__ import annotations

import contextlib
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from layersmith.finding import Finding, Severity
from layersmith.probe import reading, tree
from layersmith.probe.steps import caller
from layersmith.probe.surroundings import preserved
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

SHIFT = re.compile(r"^(?:cyclic_)?shifts?(?:_size)?$")
Shift = tuple[tuple[int, int], ...]  # for each axis from the end, by how much


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.SHAPES_MEANT)
def shift_not_undone(case: Case) -> Iterator[Finding]:
    """Follow what was rolled through one call."""
    if not reading.mentions(case.module, r"\broll\("):
        raise NotApplicable("nothing is rolled")
    watch = _watched(case)
    if not watch.rolled and (shifted := _shifted(case)) is not None:
        watch = _watched(shifted)
    for by, file, line in dict.fromkeys(watch.found):
        yield Finding(
            f"roll() shifts by {by} what was shifted by {by} before, and not back",
            "output",
            file,
            line,
            fix="roll back: give the second roll the other sign",
        )


def _watched(case: Case) -> _Watch:
    watch = _Watch()
    with preserved(seed=case.seed), torch.no_grad(), watch:
        case.inputs.call(case.module)
    return watch


def _shifted(case: Case) -> Case | None:
    """The same class built with a shift, where an option of that name is 0 and it works."""
    built = case.subject.construction
    parameters = inspect.signature(built.cls).parameters if built is not None else {}
    left = [n for n, one in parameters.items() if SHIFT.match(n) and one.default == 0]
    for name in left[:1]:
        with contextlib.suppress(Exception):  # it may want another besides
            other = case.subject.otherwise(**{name: 1}).case(seed=case.seed)
            other.run()
            return other
    return None


class _Watch(TorchFunctionMode):
    """Knows of each tensor which rolls, of which function's call, have gone into it."""

    def __init__(self) -> None:
        super().__init__()
        self.rolled: dict[int, frozenset[tuple[FrameType, Shift]]] = {}
        self.found: list[tuple[str, str, int]] = []
        self._alive: list[Tensor] = []  # an id is only good as long as its tensor lives

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Do it, and hand on what went in."""
        result = func(*args, **(kwargs or {}))
        given = tree.tensors((args, kwargs or {}))
        went_in = frozenset[tuple[FrameType, Shift]]().union(*(self.rolled.get(id(x), ()) for x in given))
        if getattr(func, "__name__", "") == "roll" and isinstance(result, Tensor):
            frame, shift = sys._getframe(1), _shift(result.ndim, *args[1:], **(kwargs or {}))  # noqa: SLF001 - whose call
            back = (frame, tuple((axis, -by) for axis, by in shift))
            if (frame, shift) in went_in and shift:
                by = ", ".join(str(by) for _, by in shift)
                self.found.append((by, *caller()))
            went_in = went_in - {back} if back in went_in else went_in | {(frame, shift)}
        if went_in:
            made = [*tree.tensors(result)]
            self.rolled |= {id(one): went_in for one in made}
            self._alive += made
        return result


def _shift(ndim: int, shifts: Any = 0, dims: Any = (), **_: Any) -> Shift:
    """By how much each axis is moved; () where none is."""
    by, axes = ([one] if isinstance(one, int) else [*one] for one in (shifts, dims))
    return tuple(sorted((axis % ndim - ndim, int(n)) for n, axis in zip(by, axes, strict=False) if int(n)))


class _Windows(nn.Module):
    """Mixes neighbours in windows of two; windows of every other layer lie between those of the one before."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.mix = nn.Linear(2 * width, 2 * width)

    def mixed(self, x: Tensor) -> Tensor:
        return self.mix(x.reshape(x.shape[0], x.shape[1] // 2, -1)).reshape(x.shape)


@shift_not_undone.bad("roll() shifts by -1 what was shifted by -1", inputs=lambda: torch.randn(2, 4, 6))
class ForgetsTheSign(_Windows):
    def forward(self, x: Tensor) -> Tensor:
        return torch.roll(self.mixed(torch.roll(x, -1, 1)), -1, 1)


@shift_not_undone.bad("roll() shifts by -1, -2 what", inputs=lambda: torch.randn(2, 3, 4, 6))
class ForgetsBothSigns(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        y = self.mix(torch.roll(x, shifts=(-1, -2), dims=(1, 2)))
        return x + torch.roll(y.relu(), shifts=(-1, -2), dims=(1, 2))


@shift_not_undone.bad(
    "roll() shifts by -1 what was shifted by -1 before", inputs=lambda: torch.randn(2, 8, 6)
)
class ShiftsByAnOption(nn.Module):
    """Every other layer of a model is shifted; alone it is not."""

    def __init__(self, width: int = 6, shift: int = 0) -> None:
        super().__init__()
        self.shift = shift
        self.mix = nn.Linear(4 * width, 4 * width)

    def forward(self, x: Tensor) -> Tensor:
        if self.shift:
            x = torch.roll(x, -self.shift, dims=1)
        x = self.mix(x.unflatten(1, (-1, 4)).flatten(2)).unflatten(2, (4, -1)).flatten(1, 2)
        return torch.roll(x, -self.shift, dims=1) if self.shift else x


@shift_not_undone.good(inputs=lambda: torch.randn(2, 4, 6))
class RollsBack(_Windows):
    def forward(self, x: Tensor) -> Tensor:
        for _ in range(2):
            x = torch.roll(self.mixed(torch.roll(x, -1, 1)), 1, 1)
        return x


@shift_not_undone.good(inputs=lambda: torch.randn(2, 4, 6))
class RollsBothAlike(_Windows):
    """The two are not made of each other."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.mixed(x)
        return torch.roll(x, 1, 1) * torch.roll(y, 1, 1)
