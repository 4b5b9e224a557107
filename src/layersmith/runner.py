"""Runs rules on a subject in this process; every rule ends in exactly one result."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
import traceback
from collections.abc import Collection, Iterable, Iterator

from torch.jit import ScriptModule

from layersmith import reproduction
from layersmith.finding import Finding, Measurement, Outcome, Result, Severity, Suggestion
from layersmith.probe.refusal import TOO_LARGE, is_of_a_call
from layersmith.probe.surroundings import preserved
from layersmith.promises import Contract, Promise
from layersmith.registry import DECLARED, with_prerequisites
from layersmith.rule import NOT_PROMISED, NotApplicable, Rule
from layersmith.subject import STAND_IN, Subject
from layersmith.verbs import VERBS

OF_THE_CALL = {  # what can only be said of a call as its author would make it
    Promise.INDEPENDENT_ROWS,
    Promise.ANY_BATCH_SIZE,
    Promise.SIGNAL_PRESERVED,
    Promise.READY_TO_LEARN,
    Promise.SHAPES_MEANT,
    Promise.OBEYS_MASKS,
    Promise.CAUSAL,
    Promise.LOW_PRECISION,
}
OF_THE_PARTS = {
    Promise.EVERY_INPUT_MATTERS,
    Promise.EVERY_PARAMETER_LEARNS,
}  # a stand-in may drop what it is given
OVERRIDDEN = "module-method-overridden"  # the rule after which others may stumble
CALLABLE = "forward-raises"  # the rule without which no other can be asked
STALE_WAIVER = "waived, but it passes: remove the waiver"


def examine(
    subject: Subject, verb: str, chosen: Collection[str], *, seed: int = 0
) -> Iterator[Result | Measurement | Suggestion]:
    """All that a verb finds out about one subject, as it comes: its rules' results, then its measurements.

    Rules that the chosen ones need first are asked, too; what they find is not told, unless nothing can be called.
    """
    is_callable = True
    for result in run(subject, with_prerequisites(chosen), seed=seed):
        is_callable &= not (result.rule == CALLABLE and result.outcome is Outcome.FAIL)
        if result.outcome is not Outcome.FAIL or result.rule == CALLABLE or result.rule in chosen:
            yield result
    if is_callable:
        with preserved(seed=seed):
            yield from VERBS[verb].measure(subject.case(seed=seed))


def run(subject: Subject, rules: Iterable[Rule], *, seed: int = 0) -> Iterator[Result]:
    """One result a rule, as it comes; a rule after one that failed is skipped: one cause, one finding."""
    roots: dict[str, list[str]] = {}  # a rule that failed or was skipped -> those that failed
    subject = dataclasses.replace(subject)  # what is known of it holds for one run
    for rule in rules:
        causes = list(dict.fromkeys(root for id_ in rule.after for root in roots.get(id_, ())))
        unasked = OF_THE_CALL | OF_THE_PARTS if subject.doubt.endswith(STAND_IN) else OF_THE_CALL
        if subject.doubt and rule.promise in unasked:
            yield _unasked(rule, subject)
            continue
        result = _skipped(rule, causes) if causes else ask(subject, rule, seed=seed)
        if result.outcome is Outcome.BROKEN and OVERRIDDEN in roots:
            result = _skipped(rule, [OVERRIDDEN])  # it met a method of torch's name that is none
        if causes or result.outcome is Outcome.FAIL:
            roots[rule.id] = causes or [rule.id]
        yield _waived(result, subject.contract.waiver(rule.id, rule.promise))


def read(cls: type, rules: Iterable[Rule], contract: Contract) -> Iterator[Result]:
    """What the source alone says of a class that there was no way to build or to call: only rules that find something."""
    for rule in rules:
        findings: tuple[Finding, ...] = ()
        with contextlib.suppress(Exception):  # a class that nobody could call may be anything
            findings = tuple(finding for reading in rule.readings for finding in reading(cls))
        if findings:
            result = Result(rule.id, rule.group, Outcome.FAIL, rule.severity, findings)
            yield _waived(result, contract.waiver(rule.id, rule.promise))


def ask(subject: Subject, rule: Rule, *, seed: int = 0) -> Result:
    """Ask one rule about one fresh case; a crash in the rule is BROKEN, never the module's fault."""
    start = time.perf_counter()
    findings: tuple[Finding, ...] = ()
    why, applies = "", True
    if rule.group == DECLARED and rule.body.__name__ not in subject.contract.declared:
        return Result(rule.id, rule.group, Outcome.SKIP, rule.severity, why=NOT_PROMISED, applies=False)
    try:
        with preserved(seed=seed):
            findings = tuple(_quoted(rule, subject.contract, rule.body(subject.case(seed=seed))))
        outcome = Outcome.FAIL if findings else Outcome.PASS
    except NotApplicable as reason:
        outcome, why, applies = Outcome.SKIP, str(reason), False
    except Exception as error:  # noqa: BLE001 - whatever it is, the run goes on
        excuse = _excuse(subject, error)
        outcome = Outcome.SKIP if excuse else Outcome.BROKEN
        why = excuse or traceback.format_exc(limit=-4)
    script = _script(subject, rule, findings[0].where) if findings else ""
    seconds = time.perf_counter() - start
    return Result(rule.id, rule.group, outcome, rule.severity, findings, why, seconds, script, applies)


def _quoted(rule: Rule, contract: Contract, findings: Iterable[Finding]) -> Iterator[Finding]:
    """A promise that its author has made in words only is a warning, and says them; not where numbers end."""
    stated = contract.stated.get(rule.body.__name__) if rule.group == DECLARED else None
    for one in findings:
        if stated is None:
            yield one
        elif math.isfinite(one.numbers.get("max_abs", 0.0)):
            message = f"{one.message}; its docstring says: {stated.words}"
            yield dataclasses.replace(one, message=message, severity=one.severity or Severity.WARNING)


def _excuse(subject: Subject, error: Exception) -> str:
    """Why an error that left a rule is none of the rule's; "" where it is."""
    if any(text in str(error) for text in TOO_LARGE):
        return "it needs more memory than there is"
    if is_of_a_call(error):
        return (
            f"it does not take what it was given: {type(error).__name__}: {' '.join(str(error).split()):.150}"
        )
    return "a part of it is compiled, and answers no questions" if _is_compiled(subject) else ""


def _is_compiled(subject: Subject) -> bool:
    with contextlib.suppress(Exception):
        return any(isinstance(part, ScriptModule) for part in subject.case().module.modules())
    return False


def _script(subject: Subject, rule: Rule, where: str) -> str:
    """What shows the failure; "" where it cannot be written."""
    try:
        with preserved(seed=0):
            return reproduction.script(subject, rule, where=where)
    except Exception:  # noqa: BLE001 - a module that is hard to describe is no reason to lose the finding
        return ""


def _unasked(rule: Rule, subject: Subject) -> Result:
    why = f"the call is but a guess: {subject.doubt}"
    return Result(rule.id, rule.group, Outcome.SKIP, rule.severity, why=why)


def _skipped(rule: Rule, causes: list[str]) -> Result:
    return Result(rule.id, rule.group, Outcome.SKIP, rule.severity, why=f"after {', '.join(causes)} failed")


def _waived(result: Result, reason: str) -> Result:
    if reason and result.outcome is Outcome.PASS:
        return dataclasses.replace(result, why=STALE_WAIVER)
    if reason and result.outcome is Outcome.FAIL:
        return dataclasses.replace(result, outcome=Outcome.SKIP, findings=(), why=f"waived: {reason}")
    return result
