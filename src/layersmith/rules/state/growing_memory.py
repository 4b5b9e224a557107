"""Calling a module again and again must not make it hold more and more.

## Why it matters
A list that forward appends to keeps every activation, with its graph, for ever: memory grows step by step,
and the job dies in the second epoch, far from the line that is to blame.

## How it is tested
After three calls that may fill caches, what every attribute and buffer holds (entries, bytes, autograd nodes
behind its tensors) is counted, then again after two and after four more, in eval and in train mode.
What grew both times is named. Attributes that the class also empties or cuts, and deques with a `maxlen`,
are left out.

## How to fix it
Return it instead of keeping it; keep `x.detach()` of the last call only, or a `deque(maxlen=...)`.

## How to reproduce it
    import gc
    counts = []
    for _ in range(6):
        run()
        gc.collect()
        counts.append(sum(isinstance(thing, torch.Tensor) for thing in gc.get_objects()))
    assert counts[-1] == counts[-3], f"tensors alive after each call: {counts}"
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import history, reading, source
from layersmith.promises import Promise, contract
from layersmith.rule import rule
from layersmith.subject import Case

BOUNDED = (
    r"self\.{0}\.(clear|pop|popleft|popitem)\(|del self\.{0}|len\(self\.{0}\)|self\.{0}(: [^\n=]+)? = (self\.{0})?\[|"
    r"self\.{0}\[[^\]]*\] = "
)


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.INDEPENDENT_CALLS)
def growing_memory(case: Case) -> Iterator[Finding]:
    """Count, call twice, count, call twice, count."""
    for training in (False, True):
        told: dict[tuple[type, str], tuple[history.Held, history.Held]] = {}
        for old, new in _grown(case.fresh(training=training)):
            told.setdefault((new.owner, _what_grows(old, new)), (old, new))
        if told:
            yield from (_finding(old, new, training=training) for old, new in [*told.values()][:3])
            return


def _what_grows(old: history.Held, new: history.Held) -> str:
    """The attribute; of those that grow by their graph alone, keys and values say, any speaks for all of a class."""
    return new.attribute if (new.items, new.bytes) > (old.items, old.bytes) else ""


def _grown(case: Case) -> Iterator[tuple[history.Held, history.Held]]:
    before = history.held(case.module)
    try:
        case.run()
        if history.held(case.module) == before:  # a call changes nothing that is held: nothing can grow
            return
        counts = [_after_two(case), _after_two(case), _after_two(case)]
    except Exception:  # noqa: BLE001 - train mode may ask for more than the example has
        return
    for path, last in counts[-1].items():
        sizes = [
            (one.items, one.bytes, one.nodes) for count in counts if (one := count.get(path)) is not None
        ]
        is_steady = len(sizes) < len(counts)
        grows = not is_steady and any(a < b < c for a, b, c in zip(*sizes, strict=True))
        if grows and not _is_bounded(last.owner, last.attribute):
            yield counts[-2][path], last


def _after_two(case: Case) -> dict[str, history.Held]:
    case.run()
    case.run()
    return history.held(case.module)


def _is_bounded(owner: type, attribute: str) -> bool:
    node = source.class_node(owner)
    later = [m for m in node.body if getattr(m, "name", "") != "__init__"] if node is not None else []
    return any(re.search(BOUNDED.format(re.escape(attribute)), ast.unparse(method)) for method in later)


def _finding(old: history.Held, new: history.Held, *, training: bool) -> Finding:
    parts = [
        f"{after - before} {unit}"
        for before, after, unit in (
            (old.items, new.items, "entries"),
            (old.bytes, new.bytes, "bytes"),
            (old.nodes, new.nodes, "autograd nodes"),
        )
        if after > before
    ]
    mode = "train" if training else "eval"
    return Finding(
        f"{new.path} grows with every call: by {', '.join(parts)} in two calls in {mode} mode",
        new.path,
        *reading.setting_line(new.owner, new.attribute),
        fix="return it instead of keeping it, or keep only the last, detached",
        numbers={"bytes": float(new.bytes - old.bytes), "entries": float(new.items - old.items)},
    )


@growing_memory.bad("seen grows with every call")
class KeepsEveryActivation(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        self.seen.append(y.detach())
        return y


@growing_memory.bad("norms grows with every call")
class ConcatenatesNorms(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norms = torch.empty(0)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.norms = torch.cat([self.norms, x.detach().norm(dim=-1)])
        return x


@growing_memory.bad("penalties grows with every call")
class KeepsNumbers(nn.Module):
    """That the constructor makes the list empty does not bound it, nor that the last of it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.penalties = []  # type: ignore[var-annotated]

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        self.penalties.append(y.detach().square().mean())
        return y

    def penalty(self) -> Tensor:
        last: Tensor = self.penalties[-1]
        return last


@growing_memory.good
@contract(waive={"compiles": "it keeps numbers for a log"})
class KeepsTheLastFew(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(float(x.detach().norm()))
        if len(self.seen) > 100:  # noqa: PLR2004 - a window
            self.seen.pop(0)
        return x
