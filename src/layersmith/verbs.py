"""Which rules and which probes each verb runs: check, init and profile are selections on one pipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from layersmith.finding import Measurement
    from layersmith.subject import Case


@dataclass(frozen=True, slots=True)
class Verb:
    """One selection."""

    name: str
    groups: tuple[str, ...] | None  # of rules; None: all
    measure: Callable[[Case], Iterator[Measurement]]


def _signal(case: Case) -> Iterator[Measurement]:
    from layersmith.probe.signal import signal  # noqa: PLC0415 - the command line lists verbs without torch

    yield from signal(case.module, case.inputs, seed=case.seed)
    yield from _gains(case)


def _gains(case: Case) -> Iterator[Measurement]:
    """The gain of every submodule that is an elementwise activation."""
    from layersmith.errors import UsageError  # noqa: PLC0415 - as above
    from layersmith.finding import Measurement  # noqa: PLC0415 - as above
    from layersmith.probe.gain import gain  # noqa: PLC0415 - as above

    for path, part in case.module.named_modules():
        if [*part.children()] or any(parameter.ndim > 1 for parameter in part.parameters()):
            continue
        try:
            found = gain(part)
        except UsageError:  # neither elementwise nor a mixture of features
            continue
        if not found.note:
            yield Measurement("gain", float(found), where=path)


def _cost(case: Case) -> Iterator[Measurement]:
    from layersmith.probe import clock, flops, memory  # noqa: PLC0415 - as above

    for probe in (memory.parameters, memory.saved_bytes, flops.flops, clock.times):
        yield from probe(case.module, case.inputs)


VERBS = {
    verb.name: verb
    for verb in (
        Verb("check", None, lambda _: iter(())),
        Verb("init", ("initialisation",), _signal),
        Verb("profile", (), _cost),
    )
}
