"""What is asked of a gradient that is meant to differ from the derivative: finite, and the same twice."""

from __future__ import annotations

import torch

from layersmith.probe import closeness
from layersmith.probe.gradients.describe import unnamed
from layersmith.probe.gradients.projection import norms
from layersmith.probe.gradients.report import Leg, WrongGradient
from layersmith.probe.gradients.specimen import Specimen
from layersmith.probe.gradients.station import BackwardError, Site, Station, occupy


def surrogate_legs(site: Site, specimen: Specimen) -> tuple[list[Leg], list[WrongGradient]]:
    """Two backwards from the same state: shapes (autograd itself insists), finiteness, determinism."""
    try:
        stations = [occupy(specimen, specimen.outputs(), site.precision, seed=site.seed) for _ in range(2)]
    except BackwardError as error:
        wrong = unnamed(specimen, site, "finite", error.kind, str(error))
        return [Leg("finite", "wrong", str(error))], [wrong]
    legs, errors = [], []
    for name, kind, broken in (
        ("finite", "not finite", _not_finite(stations[0])),
        ("deterministic", "differs between two calls", _not_repeated(*stations)),
    ):
        legs.append(Leg(name, "wrong" if broken else "right"))
        errors += [
            WrongGradient(one, name, kind, f"the surrogate gradient of {one} is {kind}") for one in broken
        ]
    return legs, errors


def _not_finite(station: Station) -> list[str]:
    pairs = zip(station.specimen.leaves, station.gradients, strict=True)
    return [leaf.name for leaf, one in pairs if one is not None and not bool(torch.isfinite(one).all())]


def _not_repeated(one: Station, two: Station) -> list[str]:
    limit = closeness.GRADIENT_TWICE[one.precision.dtype]
    apart = [
        None if a is None or b is None else a - b for a, b in zip(one.gradients, two.gradients, strict=True)
    ]
    sizes = zip(one.specimen.leaves, norms(apart), norms(one.gradients), strict=True)
    return [leaf.name for leaf, gap, size in sizes if gap > limit * size]
