"""The legs of the inputs: larger, smaller, non-contiguous."""

from __future__ import annotations

from dataclasses import replace

from layersmith.probe import closeness
from layersmith.probe.gradients.describe import describe
from layersmith.probe.gradients.joint import Reading, Verdict, reading_leg
from layersmith.probe.gradients.layouts import scattered
from layersmith.probe.gradients.legs.bench import Bench, again, first_line
from layersmith.probe.gradients.report import Leg
from layersmith.probe.gradients.station import BackwardError, Site, confirmed, occupy

SCALES = (0.25, 4.0)


def scaled_inputs(bench: Bench) -> None:
    """Errors that live where inputs are large, or small."""
    for scale in SCALES:
        name = f"inputs x{scale:g}"
        if all(leaf.kind != "input" for leaf in bench.station.specimen.leaves):
            bench.not_run(name, "no input is differentiated")
            continue
        site = replace(bench.site, scale=scale)
        try:
            there = site.specimen(0)
            station = occupy(there, there.outputs(), site.precision, seed=site.seed)
            if bench.station.projection.is_whole and not station.projection.is_whole:
                bench.not_run(name, "its output is not finite there")
                continue
            reading = station.read()
        except BackwardError as error:
            bench.fault(name, error.kind, f"with inputs x{scale:g}: {error}")
            continue
        except Exception as error:  # noqa: BLE001
            bench.not_run(name, f"forward raises {first_line(error)}")
            continue
        finally:
            bench.station.specimen.forwards += there.forwards
        _confirm(bench, name, site, reading)


def _confirm(bench: Bench, name: str, site: Site, reading: Reading) -> None:
    sure = confirmed(site) if reading.verdict is Verdict.WRONG else None
    if reading.verdict is Verdict.WRONG and sure is None:
        bench.legs.append(Leg(name, "right", "a miss at one point was not found again near by: a kink"))
        return
    bench.legs.append(reading_leg(name, reading))
    if sure is not None:
        bench.errors += describe(*sure, name)


def scattered_inputs(bench: Bench) -> None:
    """The same inputs, not contiguous in memory."""
    name, base = "inputs scattered", bench.station.specimen
    if not any(one.dim() for one in base.inputs.tensors()):
        bench.not_run(name, "no tensor among the inputs")
        return
    base.adapt = scattered
    try:
        outputs = base.outputs()
        picked = bench.station.projection.pick(outputs)
    except Exception as error:  # noqa: BLE001
        bench.not_run(name, f"forward raises {first_line(error)}")
        return
    finally:
        base.adapt = None
    if closeness.gaps([one.detach() for one in picked], bench.values):
        bench.not_run(name, "the output itself depends on the layout (the order of random numbers?)")
        return
    again(bench, name, picked, "for non-contiguous inputs")
