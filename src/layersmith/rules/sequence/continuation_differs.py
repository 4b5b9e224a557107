"""A sequence in two pieces, with the state handed on, must give what the whole sequence gives.

## Why it matters
A model is trained on whole sequences and generates step by step, from a cache of keys and values or a hidden state. If
positions begin at 0 again with every piece, or the cache is joined on the wrong side, training looks right and what is
generated is noise.

## How it is tested
Asked where forward has one optional argument that is called a state, a cache or the past, takes there what it gave
back, and is causal: earlier outputs do not move with later steps, nor with the length. All steps but the last are given
first, then the last one with the state; its output must be that of the whole. Where an argument says at which step a
call begins, or what it may see, that is the caller's business.

## How to fix it
Count positions from the length of what is cached: `torch.arange(start, start + steps)`; join old before new.

## How to reproduce it
    module.eval()
    whole, (_, state, *_) = run(), module(args[0][:, :-1])
    last = module(args[0][:, -1:], **{where: state})[0] if where else whole[:, -1:]
    gap = (whole[:, -1:] - last).abs().max()
    assert gap < 1e-3, f"the last step moved by {gap:.2g}"
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import causality, closeness, continued, influence, sequence, source, tree, usage
from layersmith.probe.closeness import Gap
from layersmith.probe.inputs import Inputs
from layersmith.probe.sequence import Layout, Run
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case


@rule(
    severity=Severity.WARNING,
    since="0.1",
    promise=Promise.INDEPENDENT_CALLS,
    after=("forward-raises", "nondeterministic-eval", "future-leak"),
)
def continuation_differs(case: Case) -> Iterator[Finding]:
    """Give all steps but the last, then the last one."""
    cls: type = type(case.module)
    name = continued.argument(case.module, case.inputs)
    if not name or usage.is_excused(cls, name) or continued.is_counted_by_caller(case.module):
        raise NotApplicable("forward takes no state that it gave back")
    inputs = continued.asking(case.module, case.inputs)
    run = partial(_answer, case)
    layout = sequence.layout(case.module, inputs, run)
    if layout is None or not _is_causal(run, layout, inputs):
        raise NotApplicable("it is not causal along an axis that is surely time")
    gaps = _gaps(run, layout, inputs, name)
    if not gaps:
        raise NotApplicable(f"{name} does not take what forward gives back")
    if all(gap.is_open for gap in gaps):
        yield _finding(case, name, min(gaps, key=lambda gap: gap.max_abs))


def _answer(case: Case, inputs: Inputs) -> object:
    """The output of another module, all of whose parameters were moved: a factor that begins as 1 counts as well."""
    fresh = case.fresh()
    influence.open_gates(fresh.module)
    return fresh.run(inputs)


def _is_causal(run: Run, layout: Layout, inputs: Inputs) -> bool:
    seen = [gap for _, gap in causality.leaks(layout, inputs, run)]
    grown = causality.growth(layout, inputs, run)
    return bool(seen) and not any(gap.is_open for gap in seen) and grown is not None and not grown.is_open


def _gaps(run: Run, layout: Layout, inputs: Inputs, name: str) -> list[Gap]:
    """How far the last step lies from that of the whole, for everything given back that passes for a state."""
    last = layout.steps - 1
    whole = dict(layout.at(run(inputs), [last]))
    before = run(layout.prefix(inputs, last))
    after = layout.chosen(lambda tensor: tensor.narrow(layout.time, last, 1), inputs)
    found = []
    for _, output in continued.continued(name, before, after, run):
        first = next(tree.named_tensors(output, name="output"), None)
        if first is not None and first[0] in whole and first[1].shape == whole[first[0]].shape:
            found.append(closeness.gap(whole[first[0]], first[1], where=first[0]))
    return found


def _finding(case: Case, name: str, gap: Gap) -> Finding:
    file, line = source.class_line(type(case.module))
    return Finding(
        f"{gap.where} at the last step differs by {gap.max_abs:.2g} from that of the whole sequence when it is called "
        f"alone with {name} from the steps before, limit {gap.limit:.2g}",
        where=name,
        file=file,
        line=line,
        fix=f"count positions from the steps in {name}, and join old before new",
        numbers={"max_abs": gap.max_abs, "limit": gap.limit},
    )


def _sequence() -> Tensor:
    return torch.randn(3, 7, 6)


Cached = tuple[Tensor, Tensor]


class _Attends(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.places = nn.Linear(6, 18), nn.Embedding(16, 6)

    def attended(self, x: Tensor, past: Tensor | None, start: int) -> Cached:
        steps = torch.arange(start, start + x.shape[1], device=x.device)
        q, *new = self.qkv(x + self.places(steps)).chunk(3, dim=-1)
        now = torch.stack(new)
        keys, values = both = now if past is None else torch.cat([past, now], dim=2)
        places = torch.arange(keys.shape[1], device=x.device)
        seen = places <= places[-x.shape[1] :, None]
        scores = (q @ keys.mT).masked_fill(~seen, -1e4)
        return scores.softmax(-1) @ values, both


@continuation_differs.bad("output[0] at the last step differs", inputs=_sequence)
class BeginsAtZeroAgain(_Attends):
    def forward(self, x: Tensor, past: Tensor | None = None) -> Cached:
        return self.attended(x, past, 0)


@continuation_differs.bad("alone with state from the steps before", inputs=_sequence)
class GivesBackItsFirstState(nn.Module):
    """What it hands on is the state after the first step."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(6, 6), nn.Linear(6, 6)

    def forward(self, x: Tensor, state: Tensor | None = None) -> Cached:
        states = [torch.zeros_like(x[:, 0]) if state is None else state]
        for step in range(x.shape[1]):
            states.append(self.cell(x[:, step], states[-1]))
        return self.head(torch.stack(states[1:], dim=1)), states[1]


@continuation_differs.bad("alone with state from the steps before", inputs=_sequence)
class ForgetsToHandItOn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(6, 6, batch_first=True)

    def forward(self, x: Tensor, state: Tensor | None = None) -> Cached:
        y, state = self.rnn(x, None if state is None else torch.zeros_like(state))
        return y, state


@continuation_differs.good(inputs=_sequence)
class CountsWhatIsCached(_Attends):
    def forward(self, x: Tensor, past: Tensor | None = None) -> Cached:
        return self.attended(x, past, 0 if past is None else past.shape[2])


@continuation_differs.good(inputs=_sequence)
class GivesBackToWhoGave(nn.Module):
    """Without a state before it gives none back, and so there is nothing to go on with."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(6, 6, batch_first=True)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        y, after = self.gru(x, state)
        return y, None if state is None else after


@continuation_differs.good(inputs=_sequence)
class IsToldWhereItBegins(_Attends):
    """Positions are the caller's business."""

    def forward(self, x: Tensor, past: Tensor | None = None, start: int = 0) -> Cached:
        return self.attended(x, past, start)
