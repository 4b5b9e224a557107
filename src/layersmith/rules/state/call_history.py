"""A call must not depend on the calls before it, whatever their sizes were.

## Why it matters
A mask or a position table that is made at the first call, and kept, fits the first batch only: the next
length crashes or, worse, gets the old table. A hidden state that stays from the last batch makes the answer
depend on what was asked before.

## How it is tested
One module is called with other inputs first: other values, fewer rows, fewer steps, another number for an optional
argument (`window=None`, where `self.window` is a number), an image of smaller sides, or of others and as many pixels.
Each call after that, also after `.double()`, `.bfloat16()` and a step of the parameters, must give what a fresh module
gives for the same inputs, and must not raise where the fresh one does not.

## How to fix it
Compare the cache with what is asked (`if self.table.shape[0] < t or self.table.device != x.device`), slice
it, or compute it anew; take a state as an argument and return it.

## How to reproduce it
    torch.manual_seed(0)
    used, fresh = build().eval(), module.eval()
    used(*(x[:, :2] for x in args), **kwargs)
    assert torch.allclose(used(*args, **kwargs), fresh(*args, **kwargs)), "a call before changes the answer"
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.observations import leaves_something
from layersmith.probe import closeness, contents, history, reading, source
from layersmith.probe.inputs import Inputs
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case


@rule(
    severity=Severity.ERROR,
    since="0.1",
    promise=Promise.INDEPENDENT_CALLS,
    after=("forward-raises", "nondeterministic-eval", "hard-coded-dtype"),
)
def call_history(case: Case) -> Iterator[Finding]:
    """Ask whether a call leaves anything; if so, call in another order."""
    if not case.once(leaves_something):
        return
    for other in history.variants(case.module, case.inputs, case.run):
        orders = ((other.inputs, case.inputs), (case.inputs, other.inputs))
        found = [one for first, second in orders if (one := _changed(case, first, second, other.how))]
        if len(found) > int(other.is_setting):  # a cache goes on from one setting to the other, not back
            yield found[0]
            return
    for how, (change, dtype) in CHANGES.items():
        inputs = case.inputs.to(dtype) if dtype else case.inputs
        if (one := _changed(case, case.inputs, inputs, f"and {how}", change, dtype)) is not None:
            yield one
            return


def _changed(
    case: Case,
    first: Inputs,
    second: Inputs,
    how: str,
    change: Callable[[nn.Module], object] = lambda _: None,
    dtype: torch.dtype | None = None,
) -> Finding | None:
    """What the second call does on a module that did the first, whatever happened to the module in between."""
    used, called, fresh = case.fresh(), case.fresh(), case.fresh()
    try:
        used.run(first)
        called.run(first)
        change(used.module)
        change(fresh.module)
        expected = fresh.run(second)
    except Exception:  # noqa: BLE001 - a call that a fresh module refuses says nothing
        return None
    try:
        what = _otherwise(expected, used.run(second), dtype)
    except Exception as error:  # noqa: BLE001 - that it fails is the finding
        what = f"raises {type(error).__name__}: {' '.join(str(error).split()):.120}"
    return _finding(case, called.module, what, how) if what else None


def _otherwise(expected: Any, got: Any, dtype: torch.dtype | None) -> str:
    if dtype is torch.bfloat16:  # what was kept in float32 is better, not worse, as long as it fits
        return ""
    gaps = closeness.gaps(expected, got)
    return f"gives another {gaps[0].where}, by {gaps[0].max_abs:.2g}" if gaps else ""


def _stepped(module: nn.Module) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1 + closeness.NUDGE)


CHANGES: dict[str, tuple[Callable[[nn.Module], object], torch.dtype | None]] = {
    "a step of the optimiser": (_stepped, None),
    ".double()": (nn.Module.double, torch.float64),
    ".bfloat16()": (nn.Module.bfloat16, torch.bfloat16),
}


def _finding(case: Case, used: nn.Module, what: str, how: str) -> Finding:
    kept = [*contents.differing(used, case.fresh().module)]
    place = (
        reading.setting_line(kept[0].owner, kept[0].attribute)
        if kept
        else source.class_line(type(case.module))
    )
    names = ", ".join(one.path for one in kept[:3])
    return Finding(
        f"after a call {how} the next one {what}, unlike that of a fresh module"
        + (f"; the first left {names}" if names else ""),
        kept[0].path if kept else "",
        *place,
        fix="compare what is kept with the shape, dtype and device that are asked for, or compute it in each call",
    )


def _steps() -> Tensor:
    return torch.randn(3, 7, 6)


@call_history.bad("unlike that of a fresh module", inputs=_steps)
class TableOfTheFirstLength(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table: Tensor | None = None
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        if self.table is None:
            self.table = torch.linspace(0, 1, x.shape[1], dtype=x.dtype, device=x.device)
        return self.linear(x) * self.table[: x.shape[1], None]


@call_history.bad("raises RuntimeError", inputs=_steps)
class StateOfTheFirstBatch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.zeros: Tensor | None = None
        self.rnn = nn.GRU(6, 6, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        if self.zeros is None:
            self.zeros = torch.zeros(1, x.shape[0], 6, dtype=x.dtype, device=x.device)
        return self.rnn(x, self.zeros)[0]


@call_history.bad("and .bfloat16() the next one raises RuntimeError", inputs=_steps)
class TableOfTheFirstDtype(nn.Module):
    """Made anew for another length, not for another dtype."""

    def __init__(self) -> None:
        super().__init__()
        self.table: Tensor | None = None
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        if self.table is None or len(self.table) != x.shape[1]:
            self.table = torch.linspace(0, 1, x.shape[1], device=x.device).to(x.dtype)
        return self.linear(x + self.table[:, None])


def _image() -> Tensor:
    return torch.randn(2, 3, 8, 8)


@call_history.bad("with the last two axes' sizes exchanged the next one gives another output", inputs=_image)
class RampOfAsManyPixels(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[int, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = x.shape[-2:]
        if (size := rows * columns) not in self.kept:
            across = torch.linspace(0, 1, columns).expand(rows, columns)
            self.kept[size] = across.reshape(-1)
        return x + self.kept[size].to(x).reshape(rows, columns)


@call_history.bad("after a call with smaller sides the next one raises", inputs=_image)
class FloorsOfTheFirstSides(nn.Module):
    """Of a wider plane the columns are cut off, of a lower one no rows."""

    def __init__(self) -> None:
        super().__init__()
        self.floor: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.floor is None or self.floor.shape[1] > x.shape[-1] + 9:
            self.floor = torch.zeros(x.shape[-2:], dtype=x.dtype, device=x.device)
        return x.maximum(self.floor[:, : x.shape[-1]])


@call_history.bad("with window = 1 the next one gives another output", inputs=_steps)
class BandOfTheFirstWindow(nn.Module):
    """Kept by the length alone."""

    def __init__(self, window: int = 2) -> None:
        super().__init__()
        self.window = window
        self.kept: dict[int, Tensor] = {}

    def forward(self, x: Tensor, window: int | None = None) -> Tensor:
        steps, window = x.shape[1], self.window if window is None else window
        if steps not in self.kept:
            self.kept.clear()
            places = torch.arange(steps, device=x.device)
            self.kept[steps] = (places[:, None] - places).abs() <= window
        return self.kept[steps].to(x) @ x


@call_history.good(inputs=_steps)
class BandOfEachWindow(nn.Module):
    def __init__(self, window: int = 2) -> None:
        super().__init__()
        self.window = window
        self.kept: dict[tuple[int, int], Tensor] = {}

    def forward(self, x: Tensor, window: int | None = None) -> Tensor:
        key = x.shape[1], self.window if window is None else window
        if key not in self.kept:
            self.kept.clear()
            places = torch.arange(key[0], device=x.device)
            self.kept[key] = (places[:, None] - places).abs() <= key[1]
        return self.kept[key].to(x) @ x


@call_history.good(inputs=_steps)
class GoesOnWhereItIsTold(nn.Module):
    """What came before the start is meant to count."""

    kept: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kept", torch.zeros(3, 16, 6), persistent=False)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        end = start + x.shape[1]
        kept = self.kept[:, :start].to(x)
        with torch.no_grad():
            self.kept[:, start:end] = x.detach()
        return torch.cat([kept, x], dim=1).mean(1)


@call_history.good(inputs=_image)
class RampOfTheseSides(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[int, int], Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = x.shape[-2:]
        if (rows, columns) not in self.kept:
            self.kept[rows, columns] = torch.linspace(0, 1, columns).expand(rows, columns)
        return x + self.kept[rows, columns].to(x)


@call_history.good(inputs=_steps)
class TableThatGrows(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = torch.empty(0)
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        if len(self.table) < x.shape[1] or self.table.dtype != x.dtype or self.table.device != x.device:
            self.table = torch.arange(x.shape[1], device=x.device).sin().to(x.dtype)
        return self.linear(x) + self.table[: x.shape[1], None]
