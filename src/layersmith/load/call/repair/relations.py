"""What is left when an error names no pair: other numbers of the message, equal shapes, round sizes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from layersmith.load.call.callee import State
from layersmith.load.call.repair.complaint import Complaint
from layersmith.load.values import TensorSpec, specs

_ROUND = (16, 32, 64)
_LARGEST = 4096


def numbers(complaint: Complaint) -> Iterator[State]:
    """Numbers of the message that are ours become others of the message."""
    ours = [n for n in dict.fromkeys(complaint.numbers) if n in complaint.free_sizes]
    others = [
        n for n in dict.fromkeys(complaint.numbers) if n not in complaint.all_sizes and 0 < n <= _LARGEST
    ]
    for old in ours:
        for new in others[:3]:
            yield from complaint.with_size(old, new)


def unified(complaint: Complaint) -> Iterator[State]:
    """All tensors get the first one's shape, or its length."""
    found = list(specs(list(complaint.state.values())))
    if len(found) < 2 or not complaint.says("shape|size|dimension|match|broadcast"):  # noqa: PLR2004 - two to compare
        return
    first = found[0]
    yield complaint.with_specs(lambda spec: replace(spec, shape=first.shape, free=first.free))
    yield complaint.with_specs(
        lambda spec: spec.resized(1, first.shape[1]) if spec.rank > 1 < first.rank else spec
    )


def square(complaint: Complaint) -> Iterator[State]:
    """Every free dimension gets the same round size."""
    is_about_shape = complaint.says("shape|size|dimension|match|broadcast") or isinstance(
        complaint.error, AssertionError
    )
    for size in _ROUND if is_about_shape else ():
        yield complaint.with_specs(lambda spec, size=size: _all_free(spec, size))  # type: ignore[misc]


def _all_free(spec: TensorSpec, size: int) -> TensorSpec:
    for index in sorted(spec.free):
        if index > 0:
            spec = spec.resized(index, size, fix=False)
    return spec
