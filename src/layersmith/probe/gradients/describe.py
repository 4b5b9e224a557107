"""From a miss to sentences: the tensors, the pattern in each, the submodule and the line of its backward."""

from __future__ import annotations

import time
from dataclasses import replace

from layersmith.probe.gradients.blame import SECONDS, Blamed, blame
from layersmith.probe.gradients.culprit import Culprit, find_culprit
from layersmith.probe.gradients.pattern import find_pattern
from layersmith.probe.gradients.report import WrongGradient
from layersmith.probe.gradients.specimen import Specimen
from layersmith.probe.gradients.station import Site, Station

NO_ONE = "a miss that no tensor alone confirms: rounding"
_NAMED_AT_MOST = 12  # wrong tensors described one by one


def describe(station: Station, leg: str, *, refined: bool = False) -> list[WrongGradient]:
    """Name every wrong tensor, its pattern, the submodule and the line; none where no tensor alone is wrong."""
    blamed = blame(station, refined=refined)
    if not blamed:
        return []
    wrong = [one.position for one in blamed]
    culprit = find_culprit(station.specimen, station.precision, seed=station.seed, wrong=wrong)
    ends, named = time.process_time() + SECONDS, [_one(station, blamed[0], leg, culprit)]
    for one in blamed[1:_NAMED_AT_MOST]:
        if time.process_time() > ends:  # in a large network each takes seconds
            break
        named.append(_one(station, one, leg, culprit))
    return named


def unnamed(specimen: Specimen, site: Site, leg: str, kind: str, text: str) -> WrongGradient:
    """An error of the whole backward: it raises, it changes what it was given."""
    culprit = find_culprit(specimen, site.precision, seed=site.seed)
    return located("", leg, kind, text, culprit)


def located(tensor: str, leg: str, kind: str, text: str, culprit: Culprit) -> WrongGradient:
    """An error with the place where it was seen."""
    return WrongGradient(
        tensor=tensor,
        leg=leg,
        kind=kind,
        message=f"{text}; seen in {culprit.place}",
        module=culprit.path,
        module_class=culprit.module_class,
        function=culprit.function,
        file=culprit.file,
        line=culprit.line,
    )


def _one(station: Station, blamed: Blamed, leg: str, culprit: Culprit) -> WrongGradient:
    leaf = station.specimen.leaves[blamed.position]
    pattern = find_pattern(station, blamed.position, is_cut=culprit.is_cut)
    found = located(leaf.name, leg, pattern.kind, f"d loss/d {leaf.name} {pattern.phrase}", culprit)
    worst = pattern.worst[0] if pattern.worst else None
    return replace(
        found,
        got=worst.got if worst else blamed.reading.got,
        expected=worst.expected if worst else blamed.reading.expected,
        index=pattern.index,
        elements=leaf.tensor.numel(),
        worst=pattern.worst,
    )
