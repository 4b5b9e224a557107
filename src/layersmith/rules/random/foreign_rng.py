"""Where torch's generator is expected, random numbers must come from it.

## Why it matters
`torch.manual_seed` does not reach NumPy's nor Python's generator: weights or masks drawn there differ from run to
run, repeat in every worker process that forks (NumPy), and are not kept by activation checkpointing.

## How it is tested
The module is built, and called in train mode, twice under the same torch seed and different seeds of `random` and
`numpy.random`. What it holds and what it returns must agree. Eval mode is `nondeterministic-eval`'s business.

## How to fix it
Draw with torch: `torch.rand(()) < p`, `nn.init.normal_(self.weight, std=...)`, `torch.randperm(n)`.

## How to reproduce it
    import random, numpy
    outputs = []
    for seed in range(8):
        torch.manual_seed(0), random.seed(seed), numpy.random.seed(seed)
        outputs.append(build().train()(*args, **kwargs))
    assert all(torch.equal(outputs[0], other) for other in outputs), "torch.manual_seed does not reproduce it"
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import closeness, contents, reading
from layersmith.probe.generators import Episode, observed
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

SEEDS = range(8, 16)  # a coin of one to ten shows in 8 calls with 57 %, a fair one with 99 %
NAMES = {"random": "Python's random", "numpy": "numpy.random"}
FOREIGN = r"np\.random|numpy\.random|\brandom\.\w+\(|\b(?:gauss|uniform|choices?|shuffle|randint|sample)\("


@rule(
    severity=Severity.WARNING,
    since="0.1",
    promise=Promise.OWN_RANDOMNESS,
    after=("forward-raises", "nondeterministic-eval", "reseeds-global-rng"),
)
def foreign_rng(case: Case) -> Iterator[Finding]:
    """Ask of the constructor first, then of forward."""
    if reading.is_quick(case.module) or reading.mentions(case.module, "random"):
        one = observed(case.subject.anew, seed=0, foreign_seed=SEEDS[0])
        held = _differing(case, one) if _foreign(one) else None
        if held is not None:
            yield _finding(case, _foreign(one), f"{held.path} is drawn from", held.path)
            return
    first = _called(case, SEEDS[0])
    if first is None or not _foreign(first):
        return
    for seed in SEEDS[1:]:
        again = _called(case, seed)
        if again is not None and closeness.gaps(first.result, again.result):
            yield _finding(case, _foreign(first), "in train mode, the output depends on")
            return


def _differing(case: Case, one: Episode) -> contents.Held | None:
    other = observed(case.subject.anew, seed=0, foreign_seed=SEEDS[1])
    return next(contents.differing(one.result, other.result), None)


def _foreign(episode: Episode) -> list[str]:
    return sorted(episode.moved - {"torch"})


def _called(case: Case, seed: int) -> Episode | None:
    fresh = case.fresh(training=True)
    try:
        return observed(lambda: fresh.inputs.call(fresh.module), seed=0, foreign_seed=seed)
    except Exception:  # noqa: BLE001 - train mode may ask for more than the example has
        return None


def _finding(case: Case, generators: list[str], what: str, where: str = "") -> Finding:
    file, line = reading.line_matching(case.module, FOREIGN)
    return Finding(
        f"{what} {NAMES[generators[0]]}: torch.manual_seed does not reproduce it",
        where=where,
        file=file,
        line=line,
        fix="draw with torch: torch.rand(()) < p, nn.init.normal_(weight), torch.randperm(n)",
    )


@foreign_rng.bad("weight is drawn from numpy.random")
class WeightsOfNumpy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.from_numpy(np.random.randn(6, 6) / 6**0.5).float())  # noqa: NPY002 - the bug

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


@foreign_rng.bad("the output depends on Python's random")
class DropsItsLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        if self.training and random.random() < 0.5:  # noqa: PLR2004, S311 - the bug
            return x
        return x + self.linear(x)


@foreign_rng.good
class DropsItsLayerByTorch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        keep = torch.rand(()) < 0.5 if self.training else torch.ones(())  # noqa: PLR2004 - a share
        return x + keep * self.linear(x)


@foreign_rng.good
class TableOfNumpy(nn.Module):
    """NumPy computes, and draws nothing."""

    table: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.from_numpy(np.sin(np.arange(6.0))).float())

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table
