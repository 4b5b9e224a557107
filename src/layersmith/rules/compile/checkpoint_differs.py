"""Under activation checkpointing the module must give the same values and gradients.

## Why it matters
A checkpointed forward runs a second time in the backward pass, to save memory. If it does not do the same then, the
gradient belongs to another function than the loss, and mostly nothing is raised: forward has changed something that
it reads (a counter, an average), or draws from Python's or NumPy's generator, which the checkpoint does not rewind.

## How it is tested
One pass in train mode, plain and through `torch.utils.checkpoint.checkpoint(module, ..., use_reentrant=False)`, under
one seed; outputs and gradients must agree. torch's own generator is rewound, so dropout does no harm. Where what
forward updates is a buffer, as in spectral norm or a codebook, or a state that a method of its own begins anew
(`reset_state`), it is a note.

## How to fix it
Update state outside of forward, or after everything that reads it; draw from torch's generator.

## How to reproduce it
    import random
    from torch.utils.checkpoint import checkpoint
    for seed in range(8):
        random.seed(seed)
        leaf = args[0].clone().requires_grad_()
        checkpoint(lambda x: run(x, *args[1:]), leaf, use_reentrant=False).sum().backward()
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import closeness, contents, reading
from layersmith.probe.passes import Pass, apart, there_and_back
from layersmith.probe.randomness import draws_outside
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

OUTSIDE = r"\brandom\b|rng|shuffle|choice"
NOT_BESIDE = "don't yet support saved tensor hooks"
FIX = "update state outside of forward, or after all that reads it; draw from torch's generator"


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.INDEPENDENT_CALLS)
def checkpoint_differs(case: Case) -> Iterator[Finding]:
    """The same pass with and without checkpoint, each on a module of its own."""
    try:
        expected = _passed(case.fresh(training=True))
    except RuntimeError as error:
        raise NotApplicable("train mode asks for more than the example has") from error
    if all(gradient is None for gradient in expected.gradients.values()):
        raise NotApplicable("no gradient flows")
    try:
        gap = apart(expected, _passed(case.fresh(training=True), is_kept=False))
        what = f"{gap.where} differs {gap.extent}" if gap is not None else ""
    except Exception as error:
        if NOT_BESIDE in str(error):
            raise NotApplicable("a checkpoint does not go with torch.func in forward") from error
        # without a checkpoint it did not raise
        what = f"raises {type(error).__name__}: {next(iter(str(error).splitlines()), '')}"[:200]
    if not what:
        return
    if apart(expected, _passed(case.fresh(training=True))) is not None:
        raise NotApplicable("two passes of two equal modules differ")
    if _is_in_place(case):
        raise NotApplicable("it works in place, on what a checkpoint keeps")
    yield _finding(case, what)


def _is_in_place(case: Case) -> bool:
    """Whether a call changes its own inputs, as an in-place activation does."""
    given = case.inputs.clone()
    before = given.clone()
    with torch.no_grad():
        case.fresh(training=True).module(*given.args, **given.kwargs)
    return bool(
        closeness.gaps(before.args, given.args) or closeness.gaps(dict(before.kwargs), dict(given.kwargs))
    )


def _passed(case: Case, *, is_kept: bool = True) -> Pass:
    """One pass, with all activations kept or computed again."""
    if is_kept:
        return there_and_back(case.module, case.inputs, seed=case.seed)
    from torch.utils.checkpoint import checkpoint  # noqa: PLC0415 - calling it imports the compiler

    def call(*args: Any, **kwargs: Any) -> Any:
        return checkpoint(case.module, *args, use_reentrant=False, **kwargs)

    return there_and_back(case.module, case.inputs, seed=case.seed, call=call)


def _finding(case: Case, what: str) -> Finding:
    used, unused = case.fresh(training=True), case.fresh(training=True)
    used.run()
    changed = [*contents.differing(used.module, unused.module)]
    is_outside = draws_outside(used.module, used.inputs)
    attribute = next((one.attribute for one in changed), "")
    pattern = OUTSIDE if is_outside else rf"self\.{attribute}\b" if attribute else "$^"
    named = ", ".join(one.path for one in changed[:3])
    because = "it draws from Python's or NumPy's generator" if is_outside else f"forward changes {named}"
    is_meant = bool(changed) and all(
        isinstance(one.value, Tensor) or contents.is_put_back(one) for one in changed
    )
    return Finding(
        f"computed again in backward, {what}" + (f": {because}" if is_outside or named else ""),
        "" if is_outside or not changed else changed[0].path,
        *reading.line_with(case.module, pattern),
        fix=FIX,
        severity=Severity.NOTE if is_meant and not is_outside else None,
    )


@checkpoint_differs.bad("draws from Python's or NumPy's generator")
class SkipsAtRandom(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(6, 6) for _ in range(8))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            if not self.training or random.random() > 0.5:  # noqa: PLR2004, S311 - a coin
                x = x + block(x).tanh()
        return x


@checkpoint_differs.bad("forward changes step")
class WarmsUp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.step = 0

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.step += 1
        warmth = min(1.0, self.step / 4) if self.training else 1.0
        return (self.linear(x) * warmth).tanh()


@checkpoint_differs.good
class DropsAndNormalises(nn.Module):
    """torch's generator is rewound; running statistics are updated twice, and read in eval only."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)
