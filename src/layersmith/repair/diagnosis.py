"""Which weights the rules about initialisation find fault with, so that they and no others are drawn anew."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from layersmith.probe.closeness import SIGNAL_LOSS
from layersmith.probe.contractions import Contraction, contractions
from layersmith.probe.first_steps import NEARLY_ALL, share_of_twins
from layersmith.rule import NotApplicable, Rule
from layersmith.rules.initialisation.exploding_signal import exploding_signal
from layersmith.rules.initialisation.symmetric_init import symmetric_init
from layersmith.rules.initialisation.vanishing_signal import vanishing_signal
from layersmith.subject import Case


def broken(case: Case) -> list[str]:
    """The weights to draw anew, by the first of these rules that is not waived and finds something.

    A finding names one weight; what is wrong in the same way is drawn with it.
    """
    found = _named(case, exploding_signal)
    if copies := _named(case, symmetric_init):
        found += [*copies, *_weights(case, _is_of_twins)]
    if not found and _named(case, vanishing_signal, allow_whole=True):
        found = _weights(case, _is_lossy) or _weights(case, lambda _module, _one: True)
    return [*dict.fromkeys(found)]


def _named(case: Case, rule: Rule, *, allow_whole: bool = False) -> list[str]:
    if case.subject.contract.waiver(rule.id, rule.promise):
        return []
    try:
        return [finding.where for finding in rule.body(case.fresh()) if finding.where or allow_whole]
    except NotApplicable:
        return []


def _weights(case: Case, is_meant: Callable[[nn.Module, Contraction], bool]) -> list[str]:
    fresh = case.fresh()
    return [one.parameter for one in contractions(fresh.module, fresh.inputs) if is_meant(fresh.module, one)]


def _is_lossy(_module: nn.Module, one: Contraction) -> bool:
    return 0 < one.factor < SIGNAL_LOSS and not one.is_normalised


def _is_of_twins(module: nn.Module, one: Contraction) -> bool:
    weight = module.get_parameter(one.parameter)
    return one.rms > 0 and any(share_of_twins(weight, axis) >= NEARLY_ALL for axis in (0, 1))
