"""A causal module's output at one step must not depend on later steps of its input.

## Why it matters
A model that sees ahead learns to copy: the training loss is wonderful, and generation, where there is no
future yet, is noise. One diagonal too many, a symmetric padding or a statistic over time is enough.

## How it is tested
Asked where causality is promised: by contract (`causal=1`, the time axis), by a flag (`causal=True`, which is also turned
on, alone and with each other flag), by the class's name or the first word of its documentation, or by a triangular mask
in its source, used or forgotten. All steps from some step on are replaced, quietly and loudly, and the outputs before it
must not move; a gradient would miss what a top-k sees. Of several inputs one is enough: a decoder sees all of its
source. Then the output of a prefix must be the prefix of the output; and a convolution is asked with other sizes, too.

## How to fix it
`torch.triu(ones, diagonal=1)` is what to hide; pad a convolution by `(kernel_size - 1) * dilation` on the
left only; normalise each step by itself or with running sums.

## How to reproduce it
    module.eval()
    axis = -1 if any(isinstance(part, nn.Conv1d) for part in nn.Module.modules(module)) else 1
    changed = args[0].clone()
    changed.select(axis, -1).add_(1.0)
    one, other = (y.narrow(axis, 0, y.shape[axis] - 1) for y in (run(), run(changed, *args[1:])))
    assert torch.allclose(one, other, rtol=1e-3, atol=1e-5), f"earlier steps moved by {(one - other).abs().max():.2g}"
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.load import switched
from layersmith.load.attempt import Deadline
from layersmith.observations import noise
from layersmith.probe import causality, masks, sequence, source
from layersmith.probe.closeness import Gap
from layersmith.probe.sequence import Layout
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

SIZES = {"dilation": 2, "kernel_size": 5}  # by which what is padded has to grow
SECONDS = 3.0  # of CPU for all that a flag is turned with


@rule(
    severity=Severity.ERROR,
    since="0.1",
    promise=Promise.CAUSAL,
    after=("forward-raises", "nondeterministic-eval", "causal"),
)
def future_leak(case: Case) -> Iterator[Finding]:
    """Replace the future; then cut it off. Where a flag that is off would promise it, the same with the flag on."""
    for said, other in switched.switched_on(case, causality.FLAGS, Deadline.after(SECONDS)):
        open_ = replace(other, inputs=masks.without(other.module, other.inputs))
        with contextlib.suppress(NotApplicable):
            # Of two flags the second may allow what the first promises, as does attention to what is not given.
            for one in _asked(open_, None, said) if "cross" not in said else ():
                yield replace(one, severity=Severity.WARNING if "," in said else one.severity)
                return
    axis, why = _promised(case)
    found = [*_asked(case, axis, why)]
    for said, other in switched.with_sizes(case, SIZES, Deadline.after(SECONDS)) if not found else ():
        with contextlib.suppress(NotApplicable):
            found = found or [*_asked(other, axis, f"{why}, with {said}")]
    yield from found


def _asked(case: Case, axis: int | None, why: str) -> Iterator[Finding]:
    layout = (
        sequence.layout(case.module, case.inputs, case.run_fresh)
        if axis is None
        else sequence.stated(case.inputs, axis)
    )
    if layout is None:
        raise NotApplicable("which axis is time is not sure")
    if not (found := list(causality.leaks(layout, case.inputs, case.run_fresh))):
        raise NotApplicable("no output has a time axis")
    severity = None if causality.is_explicit(why) else Severity.WARNING
    opened = [(cut, gap) for cut, gap in found if gap.is_open]
    if opened and axis is None and causality.in_another(case.module, layout, case.inputs, case.run_fresh):
        return
    if opened:
        yield _seen(case, layout, *max(opened, key=lambda pair: pair[1].max_abs), why, severity)
        return
    gap = causality.growth(layout, case.inputs, case.run_fresh)
    if gap is not None and gap.is_open and not any(one.is_open for one in case.once(noise)):
        yield _grown(case, layout, gap, why)


def _promised(case: Case) -> tuple[int | None, str]:
    """The time axis where the contract states it, and why the module should be causal."""
    stated = case.subject.contract.declared.get("causal")
    if stated is not None:
        return int(stated), "its contract says causal"
    arguments = case.subject.construction.arguments if case.subject.construction else {}
    takes_mask = any(
        masks.given(case.module, case.inputs, name) is None for name in masks.arguments(case.module)
    )
    why = causality.declared_by(case.module, arguments, takes_mask=takes_mask)
    if not why or (why == causality.HERE and causality.is_passed_over(case.module, case.inputs)):
        raise NotApplicable("nothing says that it is causal")
    return None, why


def _seen(case: Case, layout: Layout, cut: int, gap: Gap, why: str, severity: Severity | None) -> Finding:
    file, line = causality.origin(case.module, layout, case.inputs, cut)
    sees_back = causality.past(layout, case.inputs, case.run_fresh)
    turned = "" if sees_back else "; it sees only ahead: turn the mask round"
    return Finding(
        f"{gap.where} before step {cut} moved by {gap.max_abs:.2g} when only steps {cut} to {layout.steps - 1} of "
        f"{layout.names[0]} changed, limit {gap.limit:.2g}; {why}{turned}",
        gap.where,
        file,
        line,
        fix="hide torch.triu(ones, diagonal=1) before the softmax; pad convolutions on the left only",
        numbers={"max_abs": gap.max_abs, "limit": gap.limit},
        severity=severity,
    )


def _grown(case: Case, layout: Layout, gap: Gap, why: str) -> Finding:
    count = max(1, layout.steps // 2)
    file, line = source.class_line(type(case.module))
    return Finding(
        f"{gap.where} for the first {count} steps alone differs by {gap.max_abs:.2g} from the first {count} of all "
        f"{layout.steps}, limit {gap.limit:.2g}: it depends on the length; {why}",
        gap.where,
        file,
        line,
        fix="let nothing depend on the number of steps: no division by it, no position counted from the end",
        numbers={"max_abs": gap.max_abs, "limit": gap.limit},
        severity=Severity.WARNING,
    )


def _sequence() -> Tensor:
    return torch.randn(3, 7, 6)


@future_leak.bad("output before step", inputs=_sequence)
class CausalAttentionOneTooFar(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(6, 18)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        hidden = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(2)
        return (q @ k.mT / 6**0.5).masked_fill(hidden, float("-inf")).softmax(-1) @ v


@future_leak.bad("its name says so", inputs=lambda: torch.randn(3, 6, 9))
class CausalConvPadsBothSides(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(6, 6, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


@future_leak.bad("which nothing calls", inputs=_sequence)
class ForgetsItsMask(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(6, 18)

    def hidden(self, steps: int) -> Tensor:
        return torch.ones(steps, steps, dtype=torch.bool).triu(1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return (q @ k.mT / 6**0.5).softmax(-1) @ v


@future_leak.bad(
    "the beginning of its documentation says so", inputs=lambda: torch.arange(21).reshape(3, 7) % 9
)
class AveragesOverTime(nn.Module):
    """Autoregressive features: step t may depend on those up to t."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(9, 6), nn.Linear(6, 9)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        return self.head(x - x.mean(1, keepdim=True))


@future_leak.good(inputs=_sequence)
class LeavesItsMaskToTheCaller(nn.Module):
    """Its own method is there for callers, who may want none."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(6, 18)

    def hidden(self, steps: int) -> Tensor:
        return torch.ones(steps, steps, dtype=torch.bool).triu(1)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        scores = q @ k.mT / 6**0.5
        if mask is not None:
            scores = scores.masked_fill(mask, -1e4)
        return scores.softmax(-1) @ v


@future_leak.good(inputs=_sequence)
class MasksWhenAsked(nn.Module):
    """The caller says whether the future is to be hidden, and did not ask for it."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(6, 18)

    def forward(self, x: Tensor, mask: bool = False) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        scores = q @ k.mT / 6**0.5
        if mask:
            hidden = torch.ones_like(scores, dtype=torch.bool).triu(1)
            scores = scores.masked_fill(hidden, float("-inf"))
        return scores.softmax(-1) @ v


@future_leak.good(inputs=lambda: torch.randn(3, 6, 9))
class CausalConvPadsLeft(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(6, 6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(nn.functional.pad(x, (2, 0)))


@future_leak.good(inputs=_sequence)
class AttentionBothWays(nn.Module):
    """The flag says that it is not causal."""

    def __init__(self, *, causal: bool = False) -> None:
        super().__init__()
        self.qkv, self.causal = nn.Linear(6, 18), causal

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        scores = q @ k.mT / 6**0.5
        if self.causal:
            hidden = torch.ones_like(scores, dtype=torch.bool).triu(1)
            scores = scores.masked_fill(hidden, float("-inf"))
        return scores.softmax(-1) @ v


@future_leak.bad("causal=True, banded=True", inputs=_sequence)
class HidesBothOrNothing(nn.Module):
    """The band is a reason to hide steps, not a condition for it."""

    def __init__(self, *, causal: bool = False, banded: bool = False) -> None:
        super().__init__()
        self.qkv, self.causal, self.banded = nn.Linear(6, 18), causal, banded

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        scores = q @ k.mT / 6**0.5
        if self.causal:
            hidden = torch.ones_like(scores, dtype=torch.bool).triu(1)
            if self.banded:
                hidden = hidden & torch.ones_like(scores, dtype=torch.bool).tril(-3)
            scores = scores.masked_fill(hidden, float("-inf"))
        return scores.softmax(-1) @ v


@future_leak.good(inputs=lambda: (torch.randn(3, 7, 6), torch.randn(3, 7, 6)))
class DecoderSeesItsWholeSource(nn.Module):
    """Causal in the target, which is not the first input."""

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        scores = target @ target.mT / 6**0.5
        scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), float("-inf"))
        target = target + scores.softmax(-1) @ target
        return target + (target @ source.mT / 6**0.5).softmax(-1) @ source


@future_leak.bad("before step", inputs=lambda: torch.randn(3, 12))
class NormalisesAWaveformOverTime(nn.Module):
    """Causal enhancement of a waveform, (batch, samples)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv1d(1, 4, 3), nn.GroupNorm(1, 4)

    def forward(self, wav: Tensor) -> Tensor:
        hidden: Tensor = self.norm(self.conv(nn.functional.pad(wav, (2, 0)).unsqueeze(1)))
        return hidden.tanh().mean(1)
