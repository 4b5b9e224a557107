"""What ran once must run again: a queue goes round, also where its length is no multiple of the batch.

## Why it matters
`queue[pointer : pointer + rows] = keys` fits as long as the queue is not full. The first epoch runs for minutes or hours,
and dies where the pointer comes to the end; with another batch size it never does.

## How it is tested
Where a call in train mode changes a buffer of the author's own, the same call is made again, 64 times or as often as a
second of the processor's allows, then calls with a row less. None may raise. A refusal (`raise ValueError("full")`) is
told by the module itself; what has a method to reset it, or says how much it holds or what divides it, is not asked.

## How to fix it
Count in a circle, also within one call: `(pointer + torch.arange(rows)) % len(queue)`.

## How to reproduce it
    for rows in (len(args[0]), len(args[0]) - 1):
        module = build().train()
        for _ in range(64):
            module(*(x[:rows] for x in args), **kwargs)
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import batch, reading, source
from layersmith.probe.inputs import Inputs
from layersmith.probe.refusal import is_refusal
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

CALLS = 64
SECONDS = 1.0  # of the processor's
TO_RESET = r"def \w*(?:reset(?!_parameters)|clear|flush|empty|rewind|restart|start_)|divisible|multiple of"
BOUNDED = re.compile(
    r"\b(?:at most|no more than|not exceed|maximum|maximal|limit\w*|capacity)\b", re.IGNORECASE
)


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.INDEPENDENT_CALLS)
def later_call_raises(case: Case) -> Iterator[Finding]:
    """Call it again and again, in train mode, if the first call leaves anything; then with a row less."""
    if reading.says(case.module, TO_RESET) or any(map(BOUNDED.search, _said(case.module))):
        raise NotApplicable("it says how much it holds")
    sizes = {axis: batch.batch_size(case.inputs, axis) for axis in batch.axes(case.module, case.inputs)[:1]}
    fewer = (batch.take(case.inputs, size - 1, axis=axis) for axis, size in sizes.items() if size > 1)
    calls = [case.inputs, *fewer]
    end = time.process_time() + SECONDS
    for call in calls if _changed(case.fresh(training=True), case.inputs) else ():
        asked = case.fresh(training=True)
        changed = _changed(asked, call)
        number, error = _raised(asked, call, end) if changed else (0, None)
        if error is not None and not is_refusal(error):
            yield _finding(asked.module, changed, number, error)
            return


def _raised(asked: Case, call: Inputs, end: float) -> tuple[int, Exception | None]:
    """Which call raises what; the first was made."""
    for number in range(2, CALLS + 1):
        try:
            asked.run(call)
        except Exception as error:  # noqa: BLE001 - that it raises is the finding
            return number, error
        if time.process_time() > end:
            break
    return 0, None


def _changed(asked: Case, call: Inputs) -> list[str]:
    """The buffers that a call changes; none where it does not run, or only torch's own count in theirs."""
    named = asked.module.named_modules()
    owned = [path for path, part in named if not source.is_torchs(type(part).__module__)]
    own = {f"{path}.{name}" if path else name for path in owned for name in _buffers(asked.module, path)}
    before = {name: one.clone() for name, one in asked.module.named_buffers() if name in own}
    try:
        asked.run(call)
    except Exception:  # noqa: BLE001 - another rule tells of it
        return []
    after = dict(asked.module.named_buffers())
    return [name for name, old in before.items() if name in after and not torch.equal(old, after[name])]


def _buffers(module: nn.Module, path: str) -> list[str]:
    return [name for name, _ in module.get_submodule(path).named_buffers(recurse=False)]


def _said(module: nn.Module) -> Iterator[str]:
    for part in nn.Module.modules(module):
        if not source.is_torchs(type(part).__module__):
            yield from (type(part).__doc__ or "", part.forward.__doc__ or "")


def _finding(module: nn.Module, changed: list[str], number: int, error: Exception) -> Finding:
    text = " ".join(str(error).split())
    return Finding(
        f"call {number} of one module in train mode raises {type(error).__name__}: {text:.160}; the calls before it, "
        f"equal to it, left {', '.join(changed[:3])}",
        changed[0],
        *source.error_line(error, module),
        fix="count in a circle within a call, too: (pointer + torch.arange(rows)) % len(queue)",
        numbers={"call": float(number)},
    )


class Queue(nn.Module):
    """Keys of the last batches."""

    keys: Tensor
    place: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("keys", torch.zeros(10, 6))
        self.register_buffer("place", torch.zeros((), dtype=torch.long))
        self.linear = nn.Linear(6, 6)

    def places(self, rows: int) -> Tensor:
        return self.place + torch.arange(rows, device=self.place.device)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            with torch.no_grad():
                self.keys.index_copy_(0, self.places(len(x)), x)
                self.place.add_(len(x)).remainder_(len(self.keys))
        return self.linear(x)


@later_call_raises.bad("call 3 of one module in train mode raises IndexError")
class RunsOffItsEnd(Queue):
    pass


@later_call_raises.bad("call 3 of one module in train mode raises RuntimeError")
class WritesASlice(nn.Module):
    keys: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("keys", torch.zeros(10, 6))
        self.linear = nn.Linear(6, 6)
        self.place = 0

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.keys[self.place : self.place + len(x)] = x.detach()
            self.place = (self.place + len(x)) % len(self.keys)
        return self.linear(x)


@later_call_raises.good
class GoesRound(Queue):
    def places(self, rows: int) -> Tensor:
        return super().places(rows) % len(self.keys)


@later_call_raises.good
class RefusesWhatIsTooMuch(Queue):
    def places(self, rows: int) -> Tensor:
        found = super().places(rows)
        if bool(found[-1] >= len(self.keys)):
            raise ValueError("the queue is full")
        return found


@later_call_raises.good
class IsReset(Queue):
    """To be reset before an epoch."""

    def reset(self) -> None:
        self.place.zero_()


@later_call_raises.good
class SaysWhatDividesIt(Queue):
    """The length of the queue is a multiple of the batch."""


@later_call_raises.good
class SaysHowMuchItHolds(Queue):
    """Keeps the first rows that it sees, at most ten."""
