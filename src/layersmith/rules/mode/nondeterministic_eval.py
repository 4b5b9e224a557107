"""In eval mode, the same input must give the same output.

## Why it matters
A model that answers differently each time cannot be validated, cached, exported or debugged. Mostly it is
`F.dropout(x, p)`, whose `training` is True unless it is passed, or noise that is added in eval as well.

## How it is tested
Two calls in eval mode, under different seeds, and more where random numbers are drawn (a coin may fall twice on
one side); then two under the same seed, on the same module, and two with the dropouts on that are off in the example.
Random operations are recorded with their line. A dropout that is active in eval is an error; other noise is a warning,
as sampling can be meant: where a method, a class or the line itself is named after sampling, and in a loss (random
masks, steps, negatives), it is a note. So is state that a method such as `reset` puts back.

## How to fix it
`F.dropout(x, p, training=self.training)`, or an `nn.Dropout` submodule; noise under `if self.training:`.

## How to reproduce it
    module.eval()
    outputs = [(torch.manual_seed(seed), run())[1] for seed in range(8)]
    assert all(torch.equal(outputs[0], output) for output in outputs), "one input, several outputs in eval mode"
"""

from __future__ import annotations

import linecache
import re
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import closeness, contents, options, reading, tree
from layersmith.probe.randomness import Draw, Draws, draws_outside
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

IN_TRAINING = "pass training=self.training (dropout_p=0 in eval)"
RATE, COINS = 0.5, 6  # of dropout; calls more where numbers are drawn: all alike in 1 of 128 for a fair coin
OUTSIDE = r"\brandom\b|rng|shuffle|choice"
ALWAYS_ON = re.compile(r"mc_?drop|monte_?carlo", re.IGNORECASE)  # to tell how sure a network is
MEANT = re.compile(
    r"sampl|reparam|variational|vae|gumbel|diffusion|stochastic(?!_?depth)|bayes|^random|augment|^transforms?\.py$|"
    r"randn\w*\((?:std|sigma|log_?var)\b|randn\w*\([^#]*\)\s*\*\s*(?:torch\.)?exp\(",  # mean + eps * exp(log_std)
    re.IGNORECASE,
)


@rule(
    severity=Severity.ERROR,
    since="0.1",
    promise=Promise.DETERMINISTIC_EVAL,
    after=("forward-raises", "mode-not-propagated", "parameter-made-in-forward"),
)
def nondeterministic_eval(case: Case) -> Iterator[Finding]:
    """First ask of randomness, then, if there is none, of state that one call leaves to the next."""
    first, again = case.run(seed=1), case.fresh()
    with Draws() as draws:
        second = again.run(seed=2)
    gaps = closeness.gaps(first, second)
    for seed in range(3, 3 + COINS) if draws.seen or draws_outside(again.module, again.inputs) else ():
        gaps = gaps or closeness.gaps(first, case.fresh().run(seed=seed))
    if gaps:
        is_loss = all(tensor.ndim == 0 for tensor in tree.tensors(first) if tree.is_differentiable(tensor))
        yield _random(case, gaps[0], draws.seen, is_loss=is_loss)
        return
    used = case.fresh()
    if gaps := closeness.gaps(used.run(), used.run()):
        yield from _stateful(case, gaps[0])
        return
    yield from _dropping(case)


def _dropping(case: Case) -> Iterator[Finding]:
    """The same with the dropouts on that are off in the example."""
    given = case.subject.construction
    off = dict.fromkeys(options.zero_rates(given.cls, given.arguments) if given is not None else (), RATE)
    try:
        other = case.subject.otherwise(**off).case(seed=case.seed) if off else None
        first = other.run(seed=1) if other is not None else None
        with Draws() as draws:
            gaps = closeness.gaps(first, other.run(seed=2)) if other is not None else []
    except Exception:  # noqa: BLE001 - that an option cannot be built or called, another rule tells
        return
    if gaps and any(draw.is_dropout for draw in draws.seen):
        found = _random(case, gaps[0], draws.seen, is_loss=False)
        yield replace(found, message=f"with {', '.join(f'{one}={RATE}' for one in off)} {found.message}")


def _random(case: Case, gap: closeness.Gap, draws: list[Draw], *, is_loss: bool) -> Finding:
    draw = next((draw for draw in draws if draw.is_dropout), draws[0] if draws else None)
    if draw is None:
        file, line = reading.line_with(case.module, OUTSIDE)
        what, fix = "random numbers from outside torch", "draw them from torch, under `if self.training:`"
    else:
        file, line = draw.file, draw.line
        what = f"{draw.operation}()"
        fix = IN_TRAINING if draw.is_dropout else "draw only `if self.training:`"
    return Finding(
        f"{what} changes {gap.where} between two eval calls, by up to {gap.max_abs:.2g}",
        where=gap.where,
        file=file,
        line=line,
        fix=fix,
        numbers={"max_abs": gap.max_abs, "limit": gap.limit},
        severity=_severity(case.module, draw, is_loss=is_loss),
    )


def _severity(module: nn.Module, draw: Draw | None, *, is_loss: bool) -> Severity:
    names = [name for part in nn.Module.modules(module) for name in (type(part).__name__, *vars(type(part)))]
    if draw is not None and draw.is_dropout:
        return Severity.NOTE if any(ALWAYS_ON.search(name) for name in names) else Severity.ERROR
    if is_loss or (draw is not None and draw.is_inherent):
        return Severity.NOTE
    names += [linecache.getline(draw.file, draw.line), draw.file.rpartition("/")[2]] if draw else []
    return Severity.NOTE if any(MEANT.search(name) for name in names) else Severity.WARNING


def _stateful(case: Case, gap: closeness.Gap) -> Iterator[Finding]:
    """What a call leaves to the next; what is saved besides is asked about by `state-changes-in-eval`."""
    used = case.fresh()
    used.run()
    changed = [*contents.differing(used.module, case.fresh().module)]
    if any(one.path in case.module.state_dict() for one in changed):
        return
    names = ", ".join(one.path for one in changed[:3]) or "state"
    file, line = reading.line_with(case.module, rf"self\.{changed[0].attribute}\b" if changed else "$^")
    yield Finding(
        f"a second eval call gives another {gap.where} for the same input, by up to {gap.max_abs:.2g}: "
        f"forward changes {names}, which it reads",
        where=changed[0].path if changed else gap.where,
        file=file,
        line=line,
        fix="update state only `if self.training:`, or take it as an argument and return it",
        numbers={"max_abs": gap.max_abs, "limit": gap.limit},
        severity=Severity.NOTE if changed and all(map(contents.is_put_back, changed)) else Severity.WARNING,
    )


@nondeterministic_eval.bad("dropout() changes output")
class DropoutForEver(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, 0.5)


@nondeterministic_eval.bad("randn_like() changes output")
class NoiseForEver(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * torch.randn_like(x)


@nondeterministic_eval.bad("a second eval call")
class AverageMovesInEval(nn.Module):
    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(6), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        self.mean += 0.1
        return x - self.mean


@nondeterministic_eval.bad("with dropout=0.5 dropout() changes output")
class DropsInEvalIfAsked(nn.Module):
    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, self.dropout)


@nondeterministic_eval.bad("rand() changes output")
class FlipsAtRandom(nn.Module):
    """Under the first two seeds the coin falls on the same side."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(torch.rand(()) < 0.3, x.flip(-1), x)  # noqa: PLR2004 - a coin


@nondeterministic_eval.good
class DropsInTrainingIfAsked(nn.Module):
    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, self.dropout, training=self.training)


@nondeterministic_eval.good
class NoiseInTraining(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout(x)
        return x + 0.1 * torch.randn_like(x) if self.training else x
