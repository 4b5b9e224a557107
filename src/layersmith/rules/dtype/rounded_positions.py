"""Positions must be counted in float32, also in a module of half precision.

## Why it matters
bfloat16 holds no odd number above 256, and above 1024 one in eight; float16 ends to count at 2048. Positions made by
`torch.arange(T, dtype=x.dtype)` are right in every short test; in a long sequence neighbours get one position, and
rotary or sinusoidal angles are off by radians.

## How it is tested
Module and inputs are moved to bfloat16. Followed is what `arange` makes in that dtype, or is cast to it: through
views, products with weights or constants, and differences. Reported is where its sine or cosine is taken, or
where it is added to what comes of the input or ordered against other positions (`i < j`), if it grows when an axis of the
input is twice as long, or is beyond 256 already; also with a flag `causal` on that is off. What is normalised by the
length, is compared with anything else, or multiplies the input passes; so do images, whose sides are short.

## How to fix it
Count in float32 and cast what is computed of it: `torch.arange(T, device=x.device, dtype=torch.float32)`, then
`angles.cos().to(x.dtype)`. A buffer of frequencies that `.bfloat16()` casts must not decide.

## How to reproduce it
    from torch.overrides import TorchFunctionMode
    class Watch(TorchFunctionMode):
        def __torch_function__(self, function, types, given=(), named=None):
            result = function(*given, **(named or {}))
            is_whole = isinstance(result, torch.Tensor) and result.ndim == 1 and len(result) > 2
            if is_whole and result.dtype == torch.bfloat16:
                assert not torch.equal(result, torch.arange(len(result)).bfloat16()), "positions in bfloat16"
            return result
    with Watch(): module.bfloat16()(*(x.bfloat16() if x.is_floating_point() else x for x in args), **kwargs)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.load import switched
from layersmith.load.attempt import Deadline
from layersmith.probe import batch, causality, masks, positions, sequence, source
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

SECONDS = 1.0  # of CPU for a flag
LAST = 256  # up to here bfloat16 holds every whole number


@rule(
    severity=Severity.WARNING,
    since="0.1",
    promise=Promise.LOW_PRECISION,
    after=("forward-raises", "hard-coded-dtype"),
)
def rounded_positions(case: Case) -> Iterator[Finding]:
    """Ask it as it is, and where nothing is found with its mask switched on."""
    found = [*_asked(case)]
    deadline = Deadline.after(SECONDS)
    for _, other in () if found else switched.switched_on(case, causality.FLAGS, deadline):
        found = [*_asked(replace(other, inputs=masks.without(other.module, other.inputs)))]
        break
    yield from found


def _asked(case: Case) -> Iterator[Finding]:
    """Run it in bfloat16, and where positions are counted in it, longer."""
    low = case.fresh(dtype=torch.bfloat16)
    try:
        uses = positions.uses(low.module, case.inputs.to(torch.bfloat16))
    except Exception as error:
        raise NotApplicable(f"it does not run in bfloat16: {error!s:.100}") from error
    uses = [one for one in uses if not source.is_machinery(one.origin.file)]
    longer = _longer(case, uses) if uses else []
    lines = set()
    for one in uses:
        is_long = one.largest > LAST or any(one.grows_into(other) for other in longer)
        if is_long and one.origin not in lines:
            lines.add(one.origin)
            yield _finding(one)


def _longer(case: Case, uses: list[positions.Use]) -> list[positions.Use]:
    """What is found with an axis of the inputs twice as long, each in turn; nothing of images."""
    rows = next(iter(batch.axes(case.module, case.inputs)), 0)
    sizes = dict.fromkeys(
        size for x in case.inputs.tensors() for axis, size in enumerate(x.shape) if axis != rows and size > 1
    )
    found = []
    sides = {x.shape[-1] for x in case.inputs.tensors() if x.ndim >= sequence.STACK}
    for size in sizes:
        low = case.fresh(dtype=torch.bfloat16)
        try:
            longer = positions.uses(low.module, positions.doubled(case.inputs.to(torch.bfloat16), size, rows))
        except Exception:  # noqa: BLE001, S112 - a width, which is what it is
            continue
        if size in sides and any(one.grows_into(other) for one in uses for other in longer):
            return []
        found += longer
    return found


def _finding(one: positions.Use) -> Finding:
    return Finding(
        f"in bfloat16 positions are counted in bfloat16, which holds no odd number above {LAST} (float16: 2048); "
        f"{one.operation}() gets them rounded",
        file=one.origin.file,
        line=one.origin.line,
        fix="count in float32, torch.arange(n, dtype=torch.float32), and cast what is computed of it",
    )


@rounded_positions.bad("sin() gets them rounded", inputs=lambda: torch.randn(2, 7, 6))
class AnglesInTheInputsDtype(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(x.shape[1], device=x.device, dtype=x.dtype)
        rates = 0.1 ** torch.arange(6, device=x.device)
        return self.linear(x) + torch.outer(places, rates.to(x.dtype)).sin()


@rounded_positions.bad("add() gets them rounded", inputs=lambda: torch.randn(2, 7, 6))
class DistancesOfCastPlaces(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.slope = nn.Parameter(torch.tensor(-0.5))

    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(x.shape[1], device=x.device).type_as(self.slope)
        far = (places[:, None] - places[None, :]).abs()
        scores = self.linear(x) @ x.transpose(1, 2) + self.slope * far
        return scores.softmax(-1) @ x


@rounded_positions.bad("lt() gets them rounded", inputs=lambda: torch.randn(2, 7, 6))
class OrdersRoundedPlaces(nn.Module):
    def __init__(self, *, causal: bool = False) -> None:
        super().__init__()
        self.linear, self.causal = nn.Linear(6, 6), causal

    def forward(self, x: Tensor) -> Tensor:
        scores = self.linear(x) @ x.transpose(1, 2)
        if self.causal:
            places = torch.arange(x.shape[1], device=x.device, dtype=x.dtype)
            scores = scores.masked_fill(places[:, None] < places, torch.finfo(x.dtype).min)
        return scores.softmax(-1) @ x


@rounded_positions.good(inputs=lambda: torch.randn(2, 7, 6))
class OrdersPlaces(nn.Module):
    def __init__(self, *, causal: bool = False) -> None:
        super().__init__()
        self.linear, self.causal = nn.Linear(6, 6), causal

    def forward(self, x: Tensor) -> Tensor:
        scores = self.linear(x) @ x.transpose(1, 2)
        if self.causal:
            places = torch.arange(x.shape[1], device=x.device)
            scores = scores.masked_fill(places[:, None] < places, torch.finfo(x.dtype).min)
        return scores.softmax(-1) @ x


@rounded_positions.good(inputs=lambda: torch.randn(2, 7, 6))
class AnglesInFloat32(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(x.shape[1], device=x.device, dtype=torch.float32)
        rates = 0.1 ** torch.arange(6, device=x.device, dtype=torch.float32)
        return self.linear(x) + torch.outer(places, rates).sin().to(x.dtype)


@rounded_positions.good(inputs=lambda: torch.randn(2, 7, 6))
class PlacesAsSharesOfTheLength(nn.Module):
    """Off by no more than any number of that dtype."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(x.shape[1], device=x.device, dtype=x.dtype) / x.shape[1]
        return self.linear(x) + (3.0 * places).sin()[:, None]


@rounded_positions.good(inputs=lambda: torch.randn(2, 7, 6))
class RunningMean(nn.Module):
    """A divisor: of a product only the share counts by which it is off."""

    def forward(self, x: Tensor) -> Tensor:
        counts = torch.arange(1, x.shape[1] + 1, device=x.device, dtype=x.dtype)
        return x.float().cumsum(1).to(x.dtype) / counts[:, None]


@rounded_positions.good(inputs=lambda: torch.randn(2, 7, 6))
class RatesOfTheWidth(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        rates = torch.arange(6, device=x.device, dtype=x.dtype).sin()
        return self.linear(x) * rates
