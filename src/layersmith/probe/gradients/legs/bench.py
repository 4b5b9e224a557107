"""The base station of full mode, its graph still there, and what the legs find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from layersmith.probe import closeness
from layersmith.probe.gradients.contrast import Contrast, contrast, pattern_of
from layersmith.probe.gradients.cotangent import Cotangent
from layersmith.probe.gradients.culprit import Culprit, find_culprit
from layersmith.probe.gradients.describe import located, unnamed
from layersmith.probe.gradients.projection import Named, norm
from layersmith.probe.gradients.report import Leg, WrongGradient
from layersmith.probe.gradients.station import Site, Station


@dataclass(slots=True)
class Bench:
    """The base station of full mode, its graph still there, and what the legs find."""

    site: Site
    station: Station
    outputs: Named
    functions: list[type]
    legs: list[Leg] = field(default_factory=list)
    errors: list[WrongGradient] = field(default_factory=list)

    @property
    def values(self) -> list[Tensor]:
        """The base station's outputs."""
        return [one.detach() for one in self.station.projection.pick(self.outputs)]

    def not_run(self, name: str, why: str) -> None:
        """Say why a leg was not run."""
        self.legs.append(Leg(name, "not run", why))

    def pull(self, along: Cotangent) -> list[Tensor | None]:
        """Another backward through the base station's graph."""
        picked = self.station.projection.pick(self.outputs)
        return self.station.specimen.gradients(picked, along, keep=True)

    def settle(self, name: str, found: Contrast, meaning: str) -> None:
        """Add the leg, and an error for each tensor that differs."""
        self.legs.append(Leg(name, "wrong" if found.wrong else "right", "", found.worst, found.limit))
        if not found.wrong:
            return
        culprit = find_culprit(self.station.specimen, self.site.precision, seed=self.site.seed)
        for position in found.wrong:
            leaf = self.station.specimen.leaves[position]
            pattern = pattern_of(found, position, leaf)
            phrase = pattern.phrase.replace("finite differences give", "it should be").replace(
                "finite differences are", "it should be"
            )
            text = f"{meaning}, d loss/d {leaf.name} {phrase}"
            error = located(leaf.name, name, pattern.kind, text, culprit)
            worst = pattern.worst[0] if pattern.worst else None
            if worst:
                error = replace(error, got=worst.got, expected=worst.expected)
            self.errors.append(
                replace(error, index=pattern.index, elements=leaf.tensor.numel(), worst=pattern.worst)
            )

    def fault(self, name: str, kind: str, text: str, *, place: tuple[str, int] = ("", 0)) -> None:
        """Add a leg that is wrong as a whole; its place is searched for where it is not known."""
        self.legs.append(Leg(name, "wrong", text))
        module = type(self.station.specimen.module).__name__
        if place[1]:
            self.errors.append(located("", name, kind, text, Culprit("", module, "forward", *place)))
        else:
            self.errors.append(unnamed(self.station.specimen, self.site, name, kind, text))


def again(bench: Bench, name: str, picked: list[Tensor], meaning: str, still: Sequence[int] = ()) -> None:
    """Backward from other outputs of the same value must give the base station's gradients."""
    along = bench.station.projection.along
    carrying = [k for k, one in enumerate(picked) if one.requires_grad]
    try:
        found = bench.station.specimen.gradients(
            [picked[k] for k in carrying], [along[k].clone() for k in carrying], keep=True
        )
    except Exception as error:  # noqa: BLE001
        bench.fault(name, "raises in backward", f"{meaning}: {first_line(error)}")
        return
    limit = closeness.GRADIENT_TWICE[bench.site.precision.dtype]
    gaps = contrast(found, bench.station.gradients, limit=limit, floor=floor_of(bench, limit))
    gaps = gaps.only([i for i in range(len(found)) if i not in still])
    bench.settle(name, gaps.beyond(_repeated(bench, still, limit)) if gaps.wrong else gaps, meaning)


def _repeated(bench: Bench, still: Sequence[int], limit: float) -> Contrast:
    """What another forward of the same inputs changes, nothing frozen: a deep float32 network blows rounding up."""
    leaves, specimen = [bench.station.specimen.leaves[i].tensor for i in still], bench.station.specimen
    for leaf in leaves:
        leaf.requires_grad = True
    try:
        picked = bench.station.projection.pick(specimen.outputs())
        found = specimen.gradients(picked, bench.station.projection.along)
    finally:
        for leaf in leaves:
            leaf.requires_grad = False
    return contrast(found, bench.station.gradients, limit=limit, floor=floor_of(bench, limit))


def floor_of(bench: Bench, limit: float, *, dtype: torch.dtype = torch.float64) -> float:
    """Below this size a gradient is rounding: that of a bias before a norm, of a key's bias in attention."""
    rounding = torch.finfo(dtype).eps * norm(bench.station.projection.along)
    largest = max(bench.station.steep, default=0.0)
    return max(largest * closeness.RELATIVE[torch.float32], closeness.GRADIENT_ROUNDINGS * rounding / limit)


def first_line(error: Exception) -> str:
    """What an exception says, short."""
    return f"{type(error).__name__}: {error}".split("\n", 1)[0][:200]
