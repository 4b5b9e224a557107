"""The legs of the inputs: larger, smaller, non-contiguous."""

from __future__ import annotations

from dataclasses import replace

import torch

from layersmith.probe import closeness
from layersmith.probe.gradients.describe import NO_ONE, describe
from layersmith.probe.gradients.joint import Reading, Verdict, reading_leg
from layersmith.probe.gradients.layouts import scattered
from layersmith.probe.gradients.legs.bench import Bench, again, first_line
from layersmith.probe.gradients.report import Leg
from layersmith.probe.gradients.station import BackwardError, Site, confirmed, occupy

SCALES = (0.25, 4.0)


def scaled_inputs(bench: Bench) -> None:
    """Errors that live where inputs are large, or small."""
    base = bench.station.specimen
    inputs = [leaf.tensor.data for leaf in base.leaves if leaf.kind == "input"]
    for scale in SCALES:
        name = f"inputs x{scale:g}"
        if not inputs:
            bench.not_run(name, "no input is differentiated")
            continue
        torch._foreach_mul_(inputs, scale)
        try:
            _at_scale(bench, name, replace(bench.site, scale=scale))
        except BackwardError as error:
            bench.fault(name, error.kind, f"with {name}: {error}")
        except Exception as error:  # noqa: BLE001 - beyond its domain a module may raise anything
            bench.not_run(name, f"forward raises {first_line(error)}")
        finally:
            torch._foreach_mul_(inputs, 1 / scale)  # exact: both are powers of two


def _at_scale(bench: Bench, name: str, site: Site) -> None:
    base = bench.station.specimen
    station = occupy(base, base.outputs(), site.precision, seed=site.seed)
    if bench.station.projection.is_whole and not station.projection.is_whole:
        bench.not_run(name, "its output is not finite there")
        return
    _confirm(bench, name, site, station.read())


def _confirm(bench: Bench, name: str, site: Site, reading: Reading) -> None:
    sure = confirmed(site) if reading.verdict is Verdict.WRONG else None
    if reading.verdict is Verdict.WRONG and sure is None:
        bench.legs.append(Leg(name, "right", "a miss at one point was not found again near by: a kink"))
        return
    errors = describe(sure[0], name) if sure is not None else []
    is_rounding = sure is not None and not errors
    bench.legs.append(Leg(name, "unclear", NO_ONE) if is_rounding else reading_leg(name, reading))
    bench.errors += errors


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
