"""A reshape must not stand where a transpose is meant.

## Why it matters
`x.view(batch, tokens, channels)` of a tensor that is (batch, channels, tokens) has the shape that was wanted, and each
"token" is a stretch of some channel. Nothing raises, the loss falls a little, and the model never sees its input.

## How it is tested
Reshapes are watched while forward runs in eval mode, and again with one row more; where the input is a square plane,
also with one twice as wide, and where its sides are even, with odd ones, which tells axes apart; and built wider,
which tells channels from positions. Reported is one whose result has the sizes of its operand's axes, or products of
them, in another order. Where cutting an axis would explain the same sizes both times, it is reported only if the
batch comes first on both sides and neighbours are merged. Reported, too, is an image whose last axis shall be its
channels, or parts of them, and is cut across its rows. What is padded with zeros, reshaped and cut is a shift of rows
(relative positions), and passes.

## How to fix it
`x.transpose(1, 2)`, `x.permute(...)`, and then, where axes are merged, `.reshape(...)`.

## How to reproduce it
    from torch.overrides import TorchFunctionMode
    class Watch(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            new, old = function(*args, **(kwargs or {})), args[0]
            if function.__name__ in ("view", "reshape"):
                is_cut = old.dim() == 4 and not old.shape[1] % new.shape[-1] and old.shape[3] % new.shape[-1]
                assert not is_cut and (old.shape == new.shape or sorted(old.shape) != sorted(new.shape)), new.shape
            return new
    with Watch(): run()
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import count

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import batch, options, reading, scrambles, sides
from layersmith.probe.inputs import Inputs
from layersmith.probe.scrambles import Scramble
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case, Subject

MORE = (8, 32)  # rows and columns of larger images


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.SHAPES_MEANT)
def scrambled_reshape(case: Case) -> Iterator[Finding]:
    """Watch two batch sizes, a rectangle where a plane was square, odd sides; what is out of order is told once."""
    others = [case.inputs, sides.rectangle(case.inputs), sides.odd(case.inputs)]
    asked = [replace(case, inputs=one) for one in others if one is not None]
    seen: dict[tuple[str, int], Scramble] = {}
    for other in (*asked, *_wider(case)):
        for one in _scrambles(other, other.inputs):
            # `view(-1, 1024)` makes rows of the places that an image of the size it was made for has not.
            is_of_a_size = other.inputs is not case.inputs and len(one.after) < 3 <= len(one.before)  # noqa: PLR2004 - rows x features
            if is_of_a_size and one.after[0] > one.before[0] == batch.batch_size(case.inputs, 0):
                continue
            if (one.file, one.line) not in seen and (
                one.is_certain or not _is_coincidence(replace(other, inputs=case.inputs), one)
            ):
                seen[one.file, one.line] = one
    for (file, line), one in seen.items():
        if (
            file,
            line - 1,
        ) not in seen:  # lines that follow each other, as of a query, a key and a value, are one
            yield _finding(one, next(n for n in count(1) if (file, line + n) not in seen))


def _wider(case: Case) -> Iterator[Case]:
    """The module built half as wide again, with the same inputs: it may have as many channels as positions."""
    construction = case.subject.construction
    if construction is None or not reading.mentions(case.module, r"\.(?:view|reshape)\("):
        return
    for name in options.names(construction.cls):
        width = options.current(construction.cls, construction.arguments, name)
        if options.WIDTH.match(name) and type(width) is int and width % 2 == 0:
            wider = _built(case.subject.otherwise(**{name: width * 3 // 2}), case.seed)
            yield from [wider] if wider is not None else []
            return


def _built(subject: Subject, seed: int) -> Case | None:
    """Its case; None where it refuses the width."""
    with suppress(Exception):
        case = subject.case(seed=seed)
        case.run()
        return case
    return None


def _is_coincidence(case: Case, one: Scramble) -> bool:
    """Whether all is in order with a larger image: this one was as wide as what it holds."""
    larger = [inputs for more in MORE if (inputs := sides.grown(case.inputs, more)) is not None]
    found = [_again(case, inputs) for inputs in larger]
    return any(again is not None and not any(map(one.is_like, again)) for again in found)


def _scrambles(case: Case, inputs: Inputs) -> Iterator[Scramble]:
    """What is out of order with two batch sizes."""
    found = _again(case, inputs) or []
    size = batch.batch_size(inputs, 0)
    more = batch.resized(inputs, size + 1, axis=0) if found else None
    again = _again(case, more) if more is not None else None
    for one in found:
        both = [one] if again is None else [one, *(other for other in again if one.is_like(other))]
        is_ordered = again is not None and one.is_likely and one.before[0] == one.after[0] == size
        is_meant = again is not None and len(both) == 1  # gone with another number of rows: a coincidence
        if not is_meant and (is_ordered or any(x.is_certain for x in both)):
            yield one


def _again(case: Case, inputs: Inputs) -> list[Scramble] | None:
    """The scrambles of a call; None if it does not take these inputs."""
    try:
        return scrambles.scrambles(case.fresh().module, inputs)
    except Exception:  # noqa: BLE001 - that is another rule's business
        return None


def _finding(one: Scramble, lines: int) -> Finding:
    why = f"its last {one.after[-1]} are neighbours in a row of an image, not channels"
    why = why if one.is_cut else "the axes change places, the values stay where they were"
    return Finding(
        f"{one.operation}() makes {one.after} of {one.before}: {why}"
        + (f"; so do the {lines - 1} lines below it" if lines > 1 else ""),
        file=one.file,
        line=one.line,
        fix="transpose or permute the axes first",
    )


@scrambled_reshape.bad("reshape() makes (4, 15, 6) of (4, 6, 15)", inputs=lambda: torch.randn(4, 3, 3, 5))
class TokensOfChannels(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 6, 1)
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.embed(x).flatten(2)
        return self.head(y.reshape(len(x), -1, 6)).mean(1)


@scrambled_reshape.bad("reshape() makes (4, 5, 6) of (4, 2, 5, 3)", inputs=lambda: torch.randn(4, 5, 6))
class MergesHeadsUnmoved(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(6, 18)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).view(len(x), -1, 3, 2, 3).permute(2, 0, 3, 1, 4)
        return ((q @ k.mT).softmax(-1) @ v).reshape(x.shape)


@scrambled_reshape.bad("reshape() makes (3, 16, 24) of (3, 24, 4, 4)", inputs=lambda: torch.randn(3, 3, 8, 8))
class TokensAsManyAsChannels(nn.Module):
    """With 16 channels 16 positions of 16 channels cannot be told from their like turned."""

    def __init__(self, embed_dim: int = 16) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, embed_dim, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2:] != (8, 8):
            raise ValueError(f"images of 8 x 8, not {tuple(x.shape[2:])}")
        x = self.patch(x)
        return x.reshape(len(x), x.shape[2] * x.shape[3], -1)


@scrambled_reshape.bad("view() makes (4, 14) of (2, 4, 7)", inputs=lambda: torch.randn(4, 5, 6))
class JoinsDirections(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(6, 7, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.gru(x)[1].view(len(x), -1)


class _Windows(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(6, 6)

    def windows(self, x: Tensor) -> Tensor:
        n, h, w, c = x.shape
        return self.mix(x.view(n, h // 2, 2, w // 2, 2, c).transpose(2, 3))


@scrambled_reshape.bad("of (4, 2, 4, 2, 2, 6)", inputs=lambda: torch.randn(4, 4, 4, 6))
class JoinsWindowsUnmoved(_Windows):
    """A square of windows hides that rows of windows come before the rows in them."""

    def forward(self, x: Tensor) -> Tensor:
        return x + self.windows(x).reshape(x.shape)


@scrambled_reshape.bad("not channels", inputs=lambda: torch.randn(2, 3, 5, 7))
class BoxesOfRows(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.boxes = nn.Conv2d(3, 12, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.boxes(x).reshape(len(x), -1, 4)


@scrambled_reshape.good(inputs=lambda: torch.randn(2, 3, 3, 4))
class BoxesOfChannels(nn.Module):
    """As many columns as a box has numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.boxes = nn.Conv2d(3, 12, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.boxes(x).permute(0, 2, 3, 1).reshape(x.shape[0], -1, 4)


@scrambled_reshape.good(inputs=lambda: torch.randn(4, 4, 4, 6))
class JoinsWindows(_Windows):
    def forward(self, x: Tensor) -> Tensor:
        return x + self.windows(x).transpose(2, 3).reshape(x.shape)


@scrambled_reshape.good(inputs=lambda: torch.randn(4, 5, 6))
class ShiftsRows(nn.Module):
    """Relative positions: a column of zeros, a reshape and a cut move each row by one more."""

    def forward(self, x: Tensor) -> Tensor:
        scores = x @ x.mT
        rows, columns = scores.shape[1:]
        padded = nn.functional.pad(scores, (1, 0)).view(-1, columns + 1, rows)
        return padded[:, 1:].view_as(scores) @ x


@scrambled_reshape.good(inputs=lambda: torch.randn(4, 5, 6))
class SplitsHeads(nn.Module):
    """Splits and merges in order: heads beside the batch, and steps in pairs."""

    def forward(self, x: Tensor) -> Tensor:
        heads = x.reshape(-1, 5, 2, 3).transpose(1, 2).reshape(-1, 5, 3)
        mixed = (heads @ heads.mT).softmax(-1) @ heads
        return mixed.view(-1, 2, 5, 3).transpose(1, 2).flatten(2)


@scrambled_reshape.good(inputs=lambda: torch.randn(4, 16, 5, 5))
class CapsulesOfOnePosition(nn.Module):
    """Written for maps of 5 x 5, of which one position is left; of a larger one, positions become rows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(16, 16, 5, groups=16)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).view(-1, 4, 4).square()


@scrambled_reshape.good(inputs=lambda: torch.randn(4, 6, 6))
class RepeatsRows(nn.Module):
    """Each row six times, one after the other: by chance the axes look exchanged."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.repeat(1, 1, 6).view(x.size(0), -1, 6))


@scrambled_reshape.good(inputs=lambda: torch.randn(5, 9, 7))
class ShiftsRowsByTurning(nn.Module):
    """Turned, cut by a row and turned back: each row of relative positions moves by one more."""

    def forward(self, x: Tensor) -> Tensor:
        batch, rows, positions = x.shape
        turned = x.reshape(batch, positions, rows)[:, 1:]
        return turned.reshape(batch, rows, positions - 1).softmax(-1)
