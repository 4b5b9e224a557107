"""The whole treatment of one case: audit over seeds, the repair of what is broken, and the audit after it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from torch import nn

from layersmith.errors import UsageError
from layersmith.finding import Measurement, Suggestion
from layersmith.probe.audit import audit, medians
from layersmith.probe.gain import gain
from layersmith.repair import suggestion
from layersmith.repair.diagnosis import broken
from layersmith.subject import Case

SEEDS = 3
SHOWN_AFTER = ("std", "gradient_std")  # of the audit of the repaired module: the two curves


def treat(case: Case) -> Iterator[Measurement | Suggestion]:
    """How the module starts, medians over seeds; if a rule finds its start broken, a repair and what it does.

    Numbers after the repair have names that begin with `repaired_`.
    """
    cases = [case.fresh(seed=case.seed + index) for index in range(SEEDS if case.subject.is_seeded else 1)]
    yield from medians(audit(one.module, one.inputs, seed=one.seed) for one in cases)
    yield from _gains(case.module)
    weights = broken(case)
    if weights:
        repaired = medians(_after(one, weights) for one in cases)
        yield from (replace(one, name=f"repaired_{one.name}") for one in repaired)
        yield Suggestion(suggestion.suggest(case.module, case.inputs, weights))


def _gains(module: nn.Module) -> Iterator[Measurement]:
    """The gain of every submodule that is an elementwise activation."""
    for path, part in module.named_modules():
        if [*part.children()] or any(parameter.ndim > 1 for parameter in part.parameters()):
            continue
        try:
            found = gain(part)
        except UsageError:  # neither elementwise nor a mixture of features
            continue
        if not found.note:
            yield Measurement("gain", float(found), where=path)


def _after(case: Case, weights: list[str]) -> list[Measurement]:
    """The audit of the case once the suggested lines have run."""
    body = suggestion.statements(case.module, case.inputs, weights)
    repaired = suggestion.apply(case.fresh(seed=case.seed).module, body, seed=case.seed)
    return [one for one in audit(repaired, case.inputs, seed=case.seed) if one.name in SHOWN_AFTER]
