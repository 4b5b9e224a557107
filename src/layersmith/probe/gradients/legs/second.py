"""The leg of second order: backward through backward, which gradient penalties and meta-learning use."""

from __future__ import annotations

import math
from dataclasses import replace

from layersmith.probe.gradients.culprit import find_culprit
from layersmith.probe.gradients.describe import located
from layersmith.probe.gradients.joint import Verdict, reading_leg
from layersmith.probe.gradients.legs.bench import Bench, first_line
from layersmith.probe.gradients.report import Leg
from layersmith.probe.gradients.second_order import OnceError, SecondOrder


def second_order_leg(bench: Bench) -> None:
    """Backward through backward: what gradient penalties and meta-learning use."""
    name, site = "second order", bench.site
    readings = []
    for draw in (0, 1, 2):
        try:
            second = SecondOrder(
                site.specimen(draw) if draw else bench.station.specimen, site.precision, seed=site.seed
            )
            readings.append(second.read())
            if not math.isfinite(readings[-1].got):
                bench.legs.append(Leg(name, "unclear", "double backward is not finite at this point"))
                return
        except OnceError as error:
            bench.not_run(name, f"backward is not differentiable: {error}")
            return
        except Exception as error:  # noqa: BLE001
            bench.not_run(name, f"double backward raises {first_line(error)}")
            return
        if readings[-1].verdict is not Verdict.WRONG or (draw and readings[0].verdict is Verdict.WRONG):
            break
    bench.legs.append(reading_leg(name, readings[-1]))
    if readings[-1].verdict is not Verdict.WRONG:
        return
    culprit = find_culprit(second.specimen, site.precision, seed=site.seed)
    for i, leaf in enumerate(second.leaves):
        reading = second.read(only=[i])
        if reading.verdict is Verdict.WRONG:
            text = (
                f"the second derivative with respect to {leaf.name} is not what differences of backward give"
            )
            wrong = located(leaf.name, name, "second derivative", text, culprit)
            bench.errors.append(
                replace(wrong, got=reading.got, expected=reading.expected, elements=leaf.tensor.numel())
            )
