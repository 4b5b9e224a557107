"""In eval mode, the same input must give the same output.

## Why it matters
A model that answers differently each time cannot be validated, cached, exported or debugged. Mostly it is
`F.dropout(x, p)`, whose `training` is True unless it is passed, or noise that is added in eval as well.

## How it is tested
Two calls in eval mode, under different seeds; then two under the same seed, on the same module. Random
operations are recorded with their line. A dropout that is active in eval is an error; other noise is a
warning, as sampling can be meant: where a method or class is named after sampling, it is a note.

## How to fix it
`F.dropout(x, p, training=self.training)`, or an `nn.Dropout` submodule; noise under `if self.training:`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import closeness, source
from layersmith.probe.randomness import Draw, Draws
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

MEANT = re.compile(r"sampl|reparam|variational|vae|gumbel|diffusion|stochastic|bayes", re.IGNORECASE)


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.DETERMINISTIC_EVAL)
def nondeterministic_eval(case: Case) -> Iterator[Finding]:
    """First ask of randomness, then, if there is none, of state that one call leaves to the next."""
    first, again = case.run(seed=1), case.fresh()
    with Draws() as draws:
        second = again.run(seed=2)
    if gaps := closeness.gaps(first, second):
        yield _random(case, gaps[0], draws.seen)
        return
    used = case.fresh()
    if gaps := closeness.gaps(used.run(), used.run()):
        yield _stateful(case, gaps[0])


def _random(case: Case, gap: closeness.Gap, draws: list[Draw]) -> Finding:
    draw = next((draw for draw in draws if draw.is_dropout), draws[0] if draws else None)
    if draw is None:
        file, line = source.class_line(type(case.module))
        what, fix = "random numbers from outside torch", "draw them from torch, under `if self.training:`"
    else:
        file, line = draw.file, draw.line
        what = f"{draw.operation}()"
        fix = (
            "pass training=self.training (dropout_p=0 in eval)"
            if draw.is_dropout
            else "draw only `if self.training:`"
        )
    return Finding(
        f"{what} changes {gap.where} between two eval calls, by up to {gap.max_abs:.2g}",
        where=gap.where,
        file=file,
        line=line,
        fix=fix,
        numbers={"max_abs": gap.max_abs, "limit": gap.limit},
        severity=_severity(case.module, draw),
    )


def _severity(module: nn.Module, draw: Draw | None) -> Severity:
    if draw is not None and draw.is_dropout:
        return Severity.ERROR
    if draw is not None and draw.is_inherent:
        return Severity.NOTE
    names = [name for part in module.modules() for name in (type(part).__name__, *vars(type(part)))]
    return Severity.NOTE if any(MEANT.search(name) for name in names) else Severity.WARNING


def _stateful(case: Case, gap: closeness.Gap) -> Finding:
    file, line = source.class_line(type(case.module))
    return Finding(
        f"a second eval call gives another {gap.where} for the same input, by up to {gap.max_abs:.2g}: "
        "forward changes state that it reads",
        where=gap.where,
        file=file,
        line=line,
        fix="update state only `if self.training:`",
        numbers={"max_abs": gap.max_abs, "limit": gap.limit},
        severity=Severity.WARNING,
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
        self.register_buffer("mean", torch.zeros(6))

    def forward(self, x: Tensor) -> Tensor:
        self.mean += 0.1
        return x - self.mean


@nondeterministic_eval.good
class NoiseInTraining(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout(x)
        return x + 0.1 * torch.randn_like(x) if self.training else x
