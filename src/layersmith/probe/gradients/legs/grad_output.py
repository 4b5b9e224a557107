"""The legs of grad_output: scattered, expanded, undefined, and the same one twice."""

from __future__ import annotations

import torch

from layersmith.probe import closeness
from layersmith.probe.gradients.contrast import contrast
from layersmith.probe.gradients.layouts import expanded_ones, scattered
from layersmith.probe.gradients.legs.bench import Bench, first_line, floor_of
from layersmith.probe.gradients.projection import plus
from layersmith.probe.gradients.report import Leg


def layouts(bench: Bench) -> None:
    """Backward is linear in u: scattered (u + 1) less expanded 1 must give what u gave."""
    u = bench.station.projection.along
    limit = closeness.GRADIENT_TWICE[bench.site.precision.dtype]
    name = "grad_output scattered and expanded"
    try:
        ones = bench.pull([expanded_ones(one) for one in u])
        both = bench.pull([scattered(one + 1) for one in u])
    except Exception as error:  # noqa: BLE001 - backward may raise anything
        _raised(bench, name, f"for a non-contiguous or expanded grad_output: {first_line(error)}")
        return
    total = [plus(a, b) for a, b in zip(ones, bench.station.gradients, strict=True)]
    found = contrast(both, total, limit=limit, floor=floor_of(bench, limit))
    if not found.wrong:
        bench.legs.append(Leg(name, "right", "", found.worst, found.limit))
        return
    plain = bench.pull([torch.ones_like(one) for one in u])
    settled = len(bench.errors)
    again = bench.pull([one.clone() for one in u])
    bench.settle(
        "backward twice",
        contrast(again, bench.station.gradients, limit=limit, floor=floor_of(bench, limit)),
        "called a second time",
    )
    if len(bench.errors) > settled:
        return
    expanded = contrast(ones, plain, limit=limit, floor=floor_of(bench, limit))
    bench.settle("grad_output expanded", expanded, "for an expanded grad_output")
    apart = bench.pull([scattered(one) for one in u])
    found = contrast(apart, bench.station.gradients, limit=limit, floor=floor_of(bench, limit))
    bench.settle("grad_output scattered", found, "for a non-contiguous grad_output")


def undefined(bench: Bench) -> None:
    """Outputs that do not enter the loss: their gradient is undefined, and must count as zero."""
    name, u = "grad_output undefined", bench.station.projection.along
    if len(u) == 1 and not bench.functions:
        bench.not_run(name, "one output, and every backward is torch's own")
        return
    try:
        parts = [
            bench.pull([one if (k == 0) is first else None for k, one in enumerate(u)])
            for first in (True, False)
        ]
    except Exception as error:  # noqa: BLE001
        _raised(bench, name, f"when one output does not enter the loss: {first_line(error)}")
        return
    total = [plus(a, b) for a, b in zip(*parts, strict=True)]
    limit = closeness.GRADIENT_TWICE[bench.site.precision.dtype]
    found = contrast(total, bench.station.gradients, limit=limit, floor=floor_of(bench, limit))
    bench.settle(name, found, "when one output does not enter the loss")


def _raised(bench: Bench, name: str, when: str) -> None:
    """A fault, unless the very same backward as before raises as well by now."""
    if _serves_once(bench):
        bench.not_run(name, "its graph serves for one backward pass only")
    else:
        bench.fault(name, "raises in backward", when)


def _serves_once(bench: Bench) -> bool:
    """Whether going backward once more fails, whatever enters the loss: what was saved is gone."""
    try:
        bench.pull([one.clone() for one in bench.station.projection.along])
    except Exception:  # noqa: BLE001 - whatever the user's backward raises
        return True
    return False
