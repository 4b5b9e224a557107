"""Lengths that come out must be those of what comes out.

## Why it matters
Strides, paddings and kernels round, and a formula beside them rounds otherwise: `lengths // 4` behind two convolutions of
stride 2 without padding is one too many for half of all lengths. The CTC loss then raises, or a mask shows a step that
is not there, for a batch in whose longest row the numbers happen to fall so.

## How it is tested
Where forward takes the lengths of its rows and returns those of its output, it is called with rows that all fill the
batch, of two dozen lengths. Each returned length must be the number of steps of the output. More is an error; one less,
which drops the end of the longest row, a note. Nothing is said where the two never agree: they count something else.

## How to fix it
Compute the length as the layers do: `(lengths + 2 * padding - kernel) // stride + 1` for each convolution.

## How to reproduce it
    module.eval()
    for steps in range(args[0].shape[1], args[0].shape[1] + 24):
        x = args[0][:, torch.arange(steps) % args[0].shape[1]]
        out, lengths = module(x, torch.full((len(x),), steps))
        assert (lengths == out.shape[1]).all(), f"{steps} steps: {out.shape[1]} come out, lengths {lengths.tolist()}"
"""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import batch, masks, reading, sequence, tree
from layersmith.probe.inputs import Inputs
from layersmith.probe.masking import with_argument
from layersmith.probe.sequence import Layout
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

LENGTHS = re.compile(r"len(?:gth)?s?$", re.IGNORECASE)
LINE = r"len(?:gth)?s?\w*(?:\.data)? *(?:=[^=]|//=|>>=|-=|\+=)"
NEXT = 8  # lengths one after the other: all remainders of two or three strides


@rule(
    severity=Severity.ERROR,
    since="0.1",
    promise=Promise.OBEYS_MASKS,
    after=("forward-raises", "nondeterministic-eval"),
)
def wrong_lengths(case: Case) -> Iterator[Finding]:
    """Fill the batch with rows of many lengths; compare what comes out with what is said of it."""
    argument = next((name for name in _names(case) if LENGTHS.search(name) and _is_given(case, name)), None)
    laid = sequence.layout(case.module, case.inputs, case.run, assumed=1) if argument else None
    if argument is None or laid is None:
        raise NotApplicable("forward takes no lengths of the rows of a sequence")
    counts = _counted(case, argument, laid)
    if not any(said == frames for _, frames, said in counts):
        raise NotApplicable("it returns no lengths that count the steps of its output")
    over = [one for one in counts if one[2] > one[1]]
    for steps, frames, said in (over or _under(counts))[:1]:
        yield Finding(
            f"the lengths that it returns are not those of its output: of rows with {steps} steps, which fill the batch, "
            f"{frames} {'comes' if frames == 1 else 'come'} out, and {said} are said to",
            "output",
            *reading.line_with(case.module, LINE),
            fix="compute it as the layers round: (lengths + 2 * padding - kernel) // stride + 1 for each convolution",
            numbers={"frames": float(frames), "length": float(said)},
            severity=None if over else Severity.NOTE,
        )


def _under(counts: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Where a step is lost; what is padded to a multiple has more of them, or the lengths that were given."""
    is_kept = all(said == steps for steps, _, said in counts)
    is_one = all(frames - said <= 1 for _, frames, said in counts)
    return [one for one in counts if one[2] < one[1]] if is_one and not is_kept else []


def _names(case: Case) -> list[str]:
    return [*inspect.signature(case.module.forward).parameters]


def _is_given(case: Case, name: str) -> bool:
    value = masks.given(case.module, case.inputs, name)
    return isinstance(value, Tensor) and value.ndim == 1 and not tree.is_differentiable(value)


def _counted(case: Case, argument: str, laid: Layout) -> list[tuple[int, int, int]]:
    """For every number of steps that it takes: how many come out, and how many are said to."""
    rows = batch.batch_size(case.inputs, laid.batch)
    seen: dict[int, list[tuple[str, Tensor]]] = {}
    for steps in sorted({*_sizes(laid.steps)}):
        lengths = torch.full((rows,), steps)
        call = with_argument((*_names(case),), _of_steps(laid, case.inputs, steps), argument, lengths)
        with contextlib.suppress(Exception):  # it takes rows of some lengths only
            seen[steps] = [*tree.named_tensors(case.run(call), name="output")]
    frames = _moving([_lengths_of_axes(one) for one in seen.values()])
    said = _moving([_numbers(one, rows) for one in seen.values()])
    return [*zip(seen, frames, said, strict=True)] if frames and said else []


def _sizes(steps: int) -> Iterator[int]:
    """As many steps as there are and the next few; then more, by larger strides, as of samples of sound."""
    yield from range(steps, steps + NEXT)
    yield from range(2 * steps, 4 * steps, max(1, steps // NEXT) + 1)


def _of_steps(laid: Layout, inputs: Inputs, steps: int) -> Inputs:
    order = torch.arange(steps) % laid.steps
    return laid.chosen(lambda tensor: tensor.index_select(laid.time, order), inputs)


def _lengths_of_axes(outputs: list[tuple[str, Tensor]]) -> dict[str, int]:
    floats = [(path, one) for path, one in outputs if one.is_floating_point()]
    return {f"{path}/{axis}": size for path, one in floats for axis, size in enumerate(one.shape)}


def _numbers(outputs: list[tuple[str, Tensor]], rows: int) -> dict[str, int]:
    """What whole numbers, one for each row, say of all rows alike."""
    counts = [
        (path, one) for path, one in outputs if one.shape == (rows,) and not tree.is_differentiable(one)
    ]
    return {path: int(one[0]) for path, one in counts if bool((one == one[0]).all())}


def _moving(seen: list[dict[str, int]]) -> list[int]:
    """The numbers that go with the steps of the input, where all that do agree."""
    paths = {path for path in (seen[0] if seen else ()) if len({one.get(path) for one in seen}) > 1}
    found = {tuple(one.get(path, 0) for one in seen) for path in paths}
    return [*found.pop()] if len(found) == 1 else []


def _spoken() -> tuple[Tensor, Tensor]:
    return torch.randn(3, 9, 6), torch.tensor([9, 7, 4])


@wrong_lengths.bad("1 comes out, and 2 are said to", inputs=_spoken)
class HalvesTwice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv1d(6, 6, 3, stride=2), nn.Tanh(), nn.Conv1d(6, 6, 3, stride=2))

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return self.conv(x.mT).mT, lengths // 4


@wrong_lengths.bad("are said to", inputs=_spoken)
class RoundsUp(nn.Module):
    """Frames that are not full are left out."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(18, 6)

    def forward(self, frames: Tensor, frames_len: Tensor) -> dict[str, Tensor]:
        count = frames.shape[1] // 3
        stacked = frames[:, : 3 * count].reshape(len(frames), count, 18)
        return {"x": self.linear(stacked), "lengths": (frames_len + 2) // 3}


@wrong_lengths.bad("3 come out, and 2 are said to", inputs=_spoken)
class ForgetsThePadding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(6, 6, 5, stride=4, padding=2)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return self.conv(x.mT).mT, lengths // 4


@wrong_lengths.good(inputs=_spoken)
class CountsAsItRounds(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv1d(6, 6, 3, stride=2), nn.Tanh(), nn.Conv1d(6, 6, 3, stride=2))

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return self.conv(x.mT).mT, ((lengths - 1) // 2 - 1) // 2


@wrong_lengths.good(inputs=_spoken)
class PadsToPairs(nn.Module):
    """The lengths are those of what was given: steps behind them are padding."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        x = nn.functional.pad(x, (0, 0, 0, x.shape[1] % 2))
        valid = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        return self.linear(x) * valid[:, :, None], lengths


@wrong_lengths.good(inputs=_spoken)
class CountsSamples(nn.Module):
    """Lengths in samples of sound, beside frames of three."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(6, 6, 3, stride=3)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return self.conv(x.mT).mT, lengths // 3 * 3
