"""Which rules and which probes each verb runs: check, init and profile are selections on one pipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from layersmith.finding import Measurement, Suggestion
    from layersmith.subject import Case


@dataclass(frozen=True, slots=True)
class Verb:
    """One selection."""

    name: str
    groups: tuple[str, ...] | None  # of rules; None: all
    measure: Callable[[Case], Iterator[Measurement | Suggestion]]


def _start(case: Case) -> Iterator[Measurement | Suggestion]:
    from layersmith.repair.treatment import treat  # noqa: PLC0415 - the command line lists verbs without torch

    yield from treat(case)


def _cost(case: Case) -> Iterator[Measurement]:
    from layersmith.probe import clock, flops, memory  # noqa: PLC0415 - as above

    step = case.fresh(training=True)  # what is timed is a training step: dropout drops, norms count
    for probe in (memory.parameters, memory.saved_bytes, flops.flops, clock.times):
        yield from probe(step.module, step.inputs)


VERBS = {
    verb.name: verb
    for verb in (
        Verb("check", None, lambda _: iter(())),
        Verb("init", ("initialisation",), _start),
        Verb("profile", (), _cost),
        Verb("infer", (), lambda _: iter(())),
    )
}
