"""An eval call whose output is not random must not draw random numbers.

## Why it matters
A validation between two epochs then changes what the next epoch draws: a run with validation differs from one
without, and a bug hunt by bisection goes astray. And the numbers are drawn for nothing.

## How it is tested
Two calls in eval mode; whether torch's, Python's or NumPy's global generator has moved on after the second (the
first may prepare something). Outputs that are random are `nondeterministic-eval`'s business. It is a warning where the
source asks for the mode, and draws before it asks; else, as in an augmentation by chance, a note.

## How to fix it
Draw only `if self.training:`.

## How to reproduce it
    module.eval()
    before = torch.get_rng_state()
    run()
    assert torch.equal(before, torch.get_rng_state()), "an eval call moves the generator"
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.observations import noise
from layersmith.probe import reading
from layersmith.probe.generators import observed
from layersmith.probe.randomness import Draws
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

ROUNDED = 16  # the tolerance of outputs is so many times what a sum in another order moves
DRAWS = r"random\.|rand\w*\(|normal_?\(|bernoulli|shuffle|choice|rng"


@rule(
    severity=Severity.WARNING,
    since="0.1",
    promise=Promise.OWN_RANDOMNESS,
    after=("forward-raises", "nondeterministic-eval", "reseeds-global-rng"),
)
def consumes_rng_in_eval(case: Case) -> Iterator[Finding]:
    """Look at the generators before and after a call."""
    case.run()
    moved = observed(lambda: case.inputs.call(case.module), seed=1).moved
    if not moved:
        return
    with Draws() as draws:
        case.run()
    if any(draw.is_inherent for draw in draws.seen) or any(
        one.max_abs > one.limit / ROUNDED for one in case.once(noise)
    ):
        return
    if draws.seen:
        file, line, what = draws.seen[0].file, draws.seen[0].line, f"{draws.seen[0].operation}()"
    else:
        (file, line), what = reading.line_matching(case.module, DRAWS), "something"
    yield Finding(
        f"{what} draws from the global generator of {min(moved)} in eval mode, though the output does not depend on it",
        file=file,
        line=line,
        fix="draw only `if self.training:`",
        severity=None if draws.seen and reading.says(case.module, r"self\.training") else Severity.NOTE,
    )


@consumes_rng_in_eval.bad("rand_like() draws from the global generator of torch")
class DrawsForNothing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        noise = 0.1 * torch.rand_like(x)
        return x + noise if self.training else x


@consumes_rng_in_eval.bad("randperm() draws from the global generator of torch")
class ShufflesAndSortsBack(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        order = torch.randperm(len(x))
        return x[order][order.argsort()]


@consumes_rng_in_eval.good
class DrawsALittle(nn.Module):
    """What it draws moves the output, by less than other rules take for a difference."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 5e-5 * torch.randn_like(x).clamp(-1, 1)


@consumes_rng_in_eval.good
class DrawsWhenTraining(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x + 0.1 * torch.rand_like(x)
