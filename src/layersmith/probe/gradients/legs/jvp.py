"""The leg of jvp: forward mode against backward, which the joint leg has just tested."""

from __future__ import annotations

from dataclasses import replace

from layersmith.probe import closeness
from layersmith.probe.gradients.culprit import find_culprit
from layersmith.probe.gradients.describe import located
from layersmith.probe.gradients.forward_mode import defines_jvp, slope_by_jvp
from layersmith.probe.gradients.joint import Reading, Verdict, balanced, reading_leg
from layersmith.probe.gradients.legs.bench import Bench, first_line
from layersmith.probe.gradients.projection import dot


def jvp(bench: Bench) -> None:
    """Forward mode against backward, which the joint leg has just tested."""
    name, station = "jvp", bench.station
    if not any(defines_jvp(one) for one in bench.functions):
        bench.not_run(name, "no autograd.Function here defines a jvp")
        return
    leaves = station.specimen.leaves
    readings = []
    try:
        for only in (None, *([i] for i in range(len(leaves)))):
            direction = balanced(station.specimen, station.steep, seed=bench.site.seed + 77, only=only)
            got, expected = slope_by_jvp(station, direction), dot(station.gradients, direction.blocks)
            limit = closeness.GRADIENT[bench.site.precision.dtype] * direction.scale
            verdict = Verdict.RIGHT if abs(got - expected) <= limit else Verdict.WRONG
            readings.append(Reading(verdict, got, expected, limit, direction.scale))
            if readings[0].verdict is Verdict.RIGHT:
                break
    except Exception as error:  # noqa: BLE001
        bench.not_run(name, f"forward mode raises {first_line(error)}")
        return
    bench.legs.append(reading_leg(name, readings[0]))
    if readings[0].verdict is Verdict.WRONG:
        culprit = find_culprit(station.specimen, bench.site.precision, seed=bench.site.seed)
        for leaf, reading in zip(leaves, readings[1:], strict=False):
            if reading.verdict is Verdict.WRONG:
                text = (
                    f"the jvp along {leaf.name} is {reading.got / reading.expected:.6g}x what backward gives"
                )
                wrong = located(leaf.name, name, "jvp", text, culprit)
                bench.errors.append(replace(wrong, got=reading.got, expected=reading.expected))
