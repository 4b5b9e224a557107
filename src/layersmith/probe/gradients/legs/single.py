"""The leg of float32: the same point must give the same gradients, as far as float32 can."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from layersmith.probe import closeness
from layersmith.probe.gradients.contrast import Contrast, contrast
from layersmith.probe.gradients.duplicate import duplicate
from layersmith.probe.gradients.legs.bench import Bench, first_line, floor_of
from layersmith.probe.gradients.legs.rounding import RoundingToFloat32
from layersmith.probe.gradients.projection import norm
from layersmith.probe.gradients.specimen import specimen
from layersmith.probe.gradients.station import occupy


def float32(bench: Bench) -> None:
    """The same point in float32 must give the same gradients, as far as float32 can."""
    name, base = "float32", bench.station.specimen
    if base.dtype != torch.float64 or bench.site.precision.dtype != torch.float64:
        bench.not_run(name, "it is examined in float32 anyway")
        return
    torch.set_default_dtype(torch.float32)
    base.restore()
    try:
        twin = specimen(
            duplicate(base.module, torch.float32),
            base.inputs,
            dtype=torch.float32,
            seed=base.seed,
            differentiated=bench.site.footing.inputs,
        )
        projection = bench.station.projection
        along = [one.to(torch.complex64 if one.is_complex() else torch.float32) for one in projection.along]
        picked = projection.pick(twin.outputs())
        if _is_another(picked, bench.values):
            bench.not_run(
                name, "its output in float32 is another one: ill conditioned, or a branch on rounding"
            )
            return
        found = twin.gradients(picked, along)
    except Exception as error:  # noqa: BLE001
        bench.not_run(name, f"it raises in float32: {first_line(error)}")
        return
    finally:
        torch.set_default_dtype(base.dtype)
    bench.station.specimen.forwards += twin.forwards
    wide = [
        None if one is None else one.to(leaf.tensor.dtype)
        for one, leaf in zip(found, base.leaves, strict=True)
    ]
    limit = closeness.GRADIENT_FLOAT32
    gaps = contrast(
        wide, bench.station.gradients, limit=limit, floor=floor_of(bench, limit, dtype=torch.float32)
    )
    if gaps.wrong:
        gaps = gaps.only([i for i in gaps.wrong if i not in _ill_conditioned(bench, gaps)])
    bench.settle(name, gaps, "in float32")


def _is_another(narrow: Sequence[Tensor], wide: Sequence[Tensor]) -> bool:
    apart = norm([a.detach().to(b.dtype) - b for a, b in zip(narrow, wide, strict=True)])
    return not apart <= closeness.RELATIVE[torch.float16] * norm(wide)


def _ill_conditioned(bench: Bench, found: Contrast) -> set[int]:
    """Leaves whose gradient moves as much when each operation is rounded to float32: no fault of backward."""
    near = bench.site.specimen(0)
    try:
        with RoundingToFloat32():
            station = occupy(near, near.outputs(), bench.site.precision, seed=bench.site.seed)
    except Exception:  # noqa: BLE001 - some operation does not take the rounding: nothing can be said
        return set(range(len(near.leaves)))
    here = contrast(
        station.gradients,
        bench.station.gradients,
        limit=found.limit,
        floor=floor_of(bench, found.limit, dtype=torch.float32),
    )
    return {i for i in found.wrong if not found.gaps[i] > closeness.GRADIENT_DOUBT * here.gaps[i]}
