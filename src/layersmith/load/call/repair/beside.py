"""What errors say of what lies beside an image or a sequence: a vector a row, a table of angles, places as channels."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from layersmith.load.call.callee import State
from layersmith.load.call.repair.complaint import Complaint
from layersmith.load.call.repair.messages import directed_pairs, undirected_pairs
from layersmith.load.values import TensorSpec
from layersmith.probe import source

_SEQUENCE, _IMAGE = 3, 4  # ranks
_SIDE = 32  # of an image
_CHUNKS = re.compile(r"\)\s*\.chunk\((\d+), *(?:dim=)?1\)")
_BESIDE = 4  # as many coordinates at most


def rotations(complaint: Complaint) -> Iterator[State]:
    """Cosines and sines of steps and features of one head, in a table or for each row: `cos[:length].unsqueeze(0)`."""
    names = [name for name in complaint.tensors if re.search(r"(?:^|_)(?:cos|sin)$", name)]
    others = (complaint.state[name] for name in complaint.tensors if name not in names)
    main = next((one for one in others if isinstance(one, TensorSpec) and one.rank == _SEQUENCE), None)
    pairs = undirected_pairs(complaint.text) if main is not None and len(names) == 2 else ()  # noqa: PLR2004 - both
    for width in (min(pair) for pair in pairs):
        for shape in ((main.shape[1], width), (*main.shape[:2], width)) if main is not None else ():
            yield complaint.with_specs(lambda spec, shape=shape: replace(spec, shape=shape), names)  # type: ignore[misc]


def vectors(complaint: Complaint) -> Iterator[State]:
    """One vector a row beside an image, where a linear map takes it: `self.modulation(style)`."""
    for given, wanted in directed_pairs(complaint.text) if complaint.says("cannot be multiplied") else ():
        for name in complaint.tensors[1:]:
            spec = complaint.state[name]
            if isinstance(spec, TensorSpec) and spec.rank >= _IMAGE and spec.shape[-1] == given:
                yield complaint.with_value(name, TensorSpec((spec.shape[0], wanted), free=frozenset({0})))


def channels_last(complaint: Complaint) -> Iterator[State]:
    """Channels behind the places of an image, where a linear map takes them, with coordinates beside them maybe."""
    name = next(iter(complaint.tensors), "")
    spec = complaint.state.get(name)
    for given, wanted in directed_pairs(complaint.text) if complaint.says("cannot be multiplied") else ():
        if isinstance(spec, TensorSpec) and spec.rank >= _IMAGE and 0 <= given - spec.shape[-1] < _BESIDE:
            shape = (spec.shape[0], *(_SIDE,) * (spec.rank - 2), spec.shape[-1] - given + wanted)
            if shape[-1] > 0:
                yield complaint.with_value(
                    name, TensorSpec(shape, spec.dtype, free=frozenset(range(spec.rank - 1)))
                )


def expanded(complaint: Complaint) -> Iterator[State]:
    """An axis more for the first input, or one less for another: `rays[..., None, :].expand(*points.shape[:-1], -1)`."""
    if not complaint.says(r"expand\(.*the number of sizes provided \(\d+\) must be greater or equal"):
        return
    ranks = {
        name: spec.rank for name in complaint.tensors if isinstance(spec := complaint.state[name], TensorSpec)
    }
    for place, (name, rank) in enumerate(ranks.items()):
        yield complaint.with_rank(rank - 1 if place else rank + 1, [name])


def modulations(complaint: Complaint) -> Iterator[State]:
    """One vector a row where a layer's features are taken apart along axis 1: `self.ada(c).chunk(6, dim=1)`."""
    cls: type = type(complaint.callee.module)
    parts = {int(count) for count in _CHUNKS.findall(source.text_of(cls))}
    times = {max(pair) // max(1, min(pair)) for pair in undirected_pairs(complaint.text)}
    for name in complaint.tensors if parts & times else ():
        spec = complaint.state[name]
        if isinstance(spec, TensorSpec) and spec.rank == _SEQUENCE and complaint.callee.clues[name].last:
            yield complaint.with_rank(_SEQUENCE - 1, [name])
