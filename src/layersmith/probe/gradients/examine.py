"""The examination: find a footing, take the joint reading, and on a miss say what is wrong and where."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from layersmith.probe.gradients.culprit import functions_in
from layersmith.probe.gradients.describe import NO_ONE, describe, unnamed
from layersmith.probe.gradients.duplicate import UnbornError
from layersmith.probe.gradients.footing import Found, NoFootingError, born, find_footing
from layersmith.probe.gradients.joint import Precision, Reading, Verdict, reading_leg
from layersmith.probe.gradients.legs import LEGS, OF_FUNCTIONS, Bench, frozen
from layersmith.probe.gradients.report import GradientReport, Leg, WrongGradient
from layersmith.probe.gradients.specimen import Specimen
from layersmith.probe.gradients.station import BackwardError, Site, Station, confirmed, occupy
from layersmith.probe.gradients.surrogate import surrogate_legs
from layersmith.probe.gradients.watch import Watch, watch
from layersmith.probe.inputs import Inputs


@dataclass(slots=True)
class Examination:
    """What is being found out; it ends as a GradientReport."""

    module: nn.Module
    mode: str
    seed: int
    legs: list[Leg] = field(default_factory=list)
    errors: list[WrongGradient] = field(default_factory=list)
    always: tuple[Callable[[Bench], None], ...] = ()  # legs to run in quick mode too
    notes: list[str] = field(default_factory=list)
    specimens: list[Specimen] = field(default_factory=list)
    dtype: str = ""
    precision: Precision | None = None  # where the module rounds more than its dtype says

    def report(self) -> GradientReport:
        """The examination so far."""
        names = self.specimens[0].leaves if self.specimens else ()
        return GradientReport(
            module=type(self.module).__name__,
            mode=self.mode,
            seed=self.seed,
            dtype=self.dtype,
            tensors=tuple(leaf.name for leaf in names),
            errors=tuple(self.errors),
            legs=tuple(self.legs),
            notes=tuple(self.notes),
            forwards=sum(one.forwards for one in self.specimens),
            backwards=sum(one.backwards for one in self.specimens),
        )


def examine(
    module: nn.Module,
    inputs: Inputs,
    *,
    mode: str,
    seed: int,
    surrogate: str = "",
    freeze: bool = False,
) -> GradientReport:
    """The whole examination of one module, inside a frame."""
    found = Examination(module, mode, seed, always=(frozen,) if freeze else ())
    try:
        module, stand = _stand(module, inputs, seed=seed, sparing=mode == "quick")
    except NoFootingError as error:
        return _not_judged(found, str(error))
    found.specimens.append(stand.specimen)
    found.dtype = str(stand.footing.dtype).removeprefix("torch.")
    if str(stand.footing):
        found.notes.append(f"{stand.footing}: {stand.refusal}")
    why = _nothing_to_ask(stand)
    if why:
        return _not_judged(found, why)
    site = Site(module, inputs, stand.footing, Precision(stand.footing.dtype), seed)
    if surrogate:
        found.notes.append(f"its gradient is meant to differ from the derivative: {surrogate}")
        found.legs, found.errors = surrogate_legs(site, stand.specimen)
        return found.report()
    _joint_leg(found, site, stand)
    return found.report()


def _stand(module: nn.Module, inputs: Inputs, *, seed: int, sparing: bool) -> tuple[nn.Module, Found]:
    try:
        return module, find_footing(module, inputs, seed=seed, sparing=sparing)
    except UnbornError:
        pass
    try:
        module = born(module, inputs, seed=seed)
    except Exception as error:
        raise NoFootingError(f"its first call raises {type(error).__name__}: {error}") from error
    return module, find_footing(module, inputs, seed=seed, sparing=sparing)


def _not_judged(found: Examination, why: str) -> GradientReport:
    found.legs.append(Leg("joint", "not run", why))
    return found.report()


def _nothing_to_ask(stand: Found) -> str:
    if not stand.specimen.leaves:
        return "it has no floating input and no parameter that requires a gradient"
    if not stand.outputs:
        return "its output holds no floating or complex tensor"
    if stand.projection.is_empty:
        return "its output is empty or nowhere finite"
    if not any(out.requires_grad for _, out in stand.outputs):
        seen = watch(stand.specimen)
        if seen.without_grad or not seen.cuts:
            return "no output carries a gradient: it runs under no_grad, or depends on nothing differentiably"
    return ""


def _joint_leg(found: Examination, site: Site, stand: Found) -> None:
    """First order, at the first point; a miss is confirmed at another before anything is said."""
    silent = [name for name, out in stand.outputs if not out.requires_grad]
    if len(silent) == len(stand.outputs):
        _detached(found, site, stand)
        return
    if silent:
        found.notes.append(f"not examined, for it carries no gradient: {', '.join(silent)}")
    functions = functions_in(stand.outputs)
    legs = LEGS if found.mode == "full" else OF_FUNCTIONS if functions else found.always
    try:
        station = occupy(
            stand.specimen,
            stand.outputs,
            site.precision,
            seed=site.seed,
            projection=stand.projection,
            keep=bool(legs),
        )
    except BackwardError as error:
        _raised(found, site, stand.specimen, error)
        return
    _judge(found, site, station, last=not legs)
    if not all(one.outcome == "right" for one in found.legs):
        legs = found.always if any(one.outcome == "wrong" for one in found.legs) else ()
    if legs:
        site = replace(site, precision=found.precision or site.precision)
        bench = Bench(site, station, stand.outputs, functions)
        for leg in legs:
            leg(bench)
        found.legs += bench.legs
        found.errors += bench.errors


def _judge(found: Examination, site: Site, station: Station, *, last: bool) -> None:
    """The joint reading: one draw of two points in quick mode, two draws of four in full.

    The last of all, where no leg comes after it.
    """
    full = found.mode == "full"
    for draw in (0, 1) if full else (0,):
        reading = station.read(draw=draw, refined=full, last=last)
        if not reading.is_plain:
            site, station, reading = _reconsidered(found, site, station, reading)
            found.precision = site.precision
        if reading.verdict is not Verdict.RIGHT:
            break
    if reading.verdict is not Verdict.WRONG:
        found.legs.append(reading_leg("joint", reading))
        return
    sure = confirmed(site, draw=draw, refined=full)
    if sure is None:
        found.legs.append(Leg("joint", "right", "a miss at one point was not found again near by: a kink"))
        return
    station, reading = sure
    found.specimens.append(station.specimen)
    errors = describe(station, "joint", refined=full)
    found.legs.append(reading_leg("joint", reading) if errors else Leg("joint", "unclear", NO_ONE))
    found.errors += errors


def _reconsidered(
    found: Examination, site: Site, station: Station, reading: Reading
) -> tuple[Site, Station, Reading]:
    """A miss or a doubt: perhaps the module rounds to float32 inside, or does not repeat itself."""
    repeats = _repeats(station)
    if not repeats and not station.specimen.draws_elsewhere:
        station = _reseeded(station)
        reading, repeats = station.read(), _repeats(station)
    if not repeats:
        found.notes.append("two calls with the same inputs and seeds differ: its gradient cannot be judged")
        return site, station, replace(reading, verdict=Verdict.UNCLEAR)
    seen = watch(station.specimen)
    if seen.narrowest in {torch.float16, torch.bfloat16}:
        found.notes.append(f"it computes in {seen.narrowest} inside: too coarse for finite differences")
        return site, station, replace(reading, verdict=Verdict.UNCLEAR)
    if seen.narrowest is torch.float32 and site.precision.dtype is torch.float64:
        found.notes.append(
            f"it rounds to float32 inside{_where_narrow(seen)}: judged with float32's tolerance"
        )
        site = replace(site, precision=Precision(torch.float32))
        station = replace(station, precision=site.precision)
        reading = station.read()
    if reading.verdict is Verdict.UNCLEAR:
        reading = station.read(draw=1)
    return site, station, reading


def _reseeded(station: Station) -> Station:
    """The same station with every generator seeded before each call, not torch's alone."""
    specimen = station.specimen
    specimen.draws_elsewhere = True
    return occupy(specimen, specimen.outputs(), station.precision, seed=station.seed)


def _where_narrow(seen: Watch) -> str:
    return f" ({seen.narrow_at})" if seen.narrow_at else ""


def _repeats(station: Station) -> bool:
    with torch.no_grad():
        one, two = (station.projection.value(station.specimen.values()) for _ in range(2))
    limit = station.projection.size * station.precision.rounding * 100
    return abs(one - two) <= limit or math.isnan(one - two)


def _detached(found: Examination, site: Site, stand: Found) -> None:
    """No output carries a gradient: an error when the outputs depend on the leaves all the same."""
    none: list[None] = [None] * len(stand.specimen.leaves)
    station = Station(stand.specimen, stand.projection, none, [0.0] * len(none), site.precision, site.seed)
    reading = station.read()
    if reading.verdict is not Verdict.WRONG or not _repeats(station):
        found.legs.append(Leg("joint", "not run", "no output carries a gradient, nor depends on anything"))
        return
    errors = describe(station, "joint")
    found.legs.append(reading_leg("joint", reading) if errors else Leg("joint", "unclear", NO_ONE))
    found.errors += errors


def _raised(found: Examination, site: Site, specimen: Specimen, error: BackwardError) -> None:
    found.legs.append(Leg("joint", "wrong", str(error)))
    found.errors.append(unnamed(specimen, site, "joint", error.kind, str(error)))
