"""One place from which a module is judged: its specimen, u, what backward says there, the reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from layersmith.probe.gradients.footing import Footing
from layersmith.probe.gradients.joint import Precision, Reading, Verdict, balanced, compare
from layersmith.probe.gradients.projection import Named, Projection, norms
from layersmith.probe.gradients.specimen import Specimen
from layersmith.probe.inputs import Inputs


class BackwardError(Exception):
    """Backward raised, or did what it must not: the text says what."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Site:
    """What is examined, on which footing, from which random numbers: enough to stand anywhere near by."""

    module: nn.Module
    inputs: Inputs
    footing: Footing
    precision: Precision
    seed: int
    scale: float = 1.0  # of the inputs

    def specimen(self, draw: int) -> Specimen:
        """A fresh specimen; each draw is another point near by."""
        return self.footing.stand(self.module, self.inputs, seed=self.seed, draw=draw, scale=self.scale)


@dataclass(frozen=True, slots=True)
class Station:
    """A specimen with its gradients."""

    specimen: Specimen
    projection: Projection
    gradients: Sequence[Tensor | None]
    steep: Sequence[float]  # the norm of each gradient
    precision: Precision
    seed: int

    def read(
        self,
        *,
        draw: int = 0,
        only: Sequence[int] | None = None,
        refined: bool = False,
        last: bool = False,
    ) -> Reading:
        """Compare backward with finite differences along one random direction, of all leaves or of some."""
        direction = balanced(self.specimen, self.steep, seed=self.seed + 101 * (draw + 1), only=only)
        here, found = (self.specimen, self.projection), (self.gradients, direction)
        return compare(*here, *found, self.precision, refined=refined, last=last)


def occupy(
    specimen: Specimen,
    outputs: Named,
    precision: Precision,
    *,
    seed: int,
    projection: Projection | None = None,
    keep: bool = False,
) -> Station:
    """Run backward from the outputs.

    Raises:
        BackwardError: if backward raises, or changes the gradient it was given or a leaf.
    """
    projection = projection or Projection.of(outputs, seed=seed + 1)
    versions = [leaf.tensor._version for leaf in specimen.leaves]  # noqa: SLF001 - counts changes in place
    try:
        gradients = specimen.gradients(projection.pick(outputs), projection.along, keep=keep)
    except Exception as error:
        text = f"{type(error).__name__}: {error}".split("\n", 1)[0][:300]
        raise BackwardError("raises in backward", text) from error
    if any(u._version for u in projection.along):  # noqa: SLF001
        raise BackwardError(
            "changes grad_output in place", "backward changes the gradient it was given, in place"
        )
    for leaf, version in zip(specimen.leaves, versions, strict=True):
        if leaf.tensor._version != version:  # noqa: SLF001
            raise BackwardError("changes a saved tensor in place", f"backward changes {leaf.name} in place")
    return Station(specimen, projection, gradients, norms(gradients), precision, seed)


def confirmed(site: Site, *, draw: int = 0, refined: bool = False) -> tuple[Station, Reading] | None:
    """Whether a miss at the first point is also one at another: the second station, or None.

    One unit that stands on a kink by chance misses once; a wrong backward misses at two points of three.
    """
    for point in (1, 2):
        specimen = site.specimen(point)
        try:
            station = occupy(specimen, specimen.outputs(), site.precision, seed=site.seed)
        except Exception:  # noqa: BLE001, S112 - outside of its domain; the next point may be inside
            continue
        reading = station.read(draw=draw, refined=refined)
        if reading.verdict is Verdict.WRONG:
            return station, reading
    return None
