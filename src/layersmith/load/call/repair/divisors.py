"""What errors say about sizes that must come in whole parts."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from layersmith.load.call.callee import State
from layersmith.load.call.clue import PRIMES
from layersmith.load.call.repair.complaint import Complaint
from layersmith.load.values import TensorSpec, specs

_DIVISIBLE = re.compile(r"divis|divide|multiple of|split|power of|square|even|chunk")
_LARGEST_DIVISOR = 256


def divisible(complaint: Complaint) -> Iterator[State]:
    """Multiples of what divides."""
    if not (_DIVISIBLE.search(complaint.text) or "%" in complaint.line):
        return
    for rows in (4, 8) if "batch" in complaint.text.lower() else ():
        yield complaint.with_specs(lambda spec, rows=rows: _of_rows(spec, rows))  # type: ignore[misc]
    named = [n for n in complaint.numbers if n not in complaint.all_sizes and 1 < n <= _LARGEST_DIVISOR]
    inner = {s.shape[i] for s in specs(list(complaint.state.values())) for i in s.free if 0 < i < s.rank}
    hit = inner & set(complaint.numbers)  # the batch is no size to divide
    chunks = complaint.says(r"divide axis of length (\d+) in chunks of (\d+)")
    if chunks:
        axis, chunk = map(int, chunks.groups())
        named[:0] = _of_chunks(axis, chunk, axis if axis in inner else max(inner, default=axis))
        hit &= {axis}
    product = complaint.says(r"product.*\((\d+), (\d+)\)")
    if product:
        named.insert(0, int(product.group(1)) * int(product.group(2)))
    for size in [*named, 16, 64, 32, 8, 36]:
        target = size * 2 if size < 8 else size  # noqa: PLR2004 - one block is no sequence
        yield complaint.with_specs(lambda spec, target=target: _set_free(spec, target, hit))  # type: ignore[misc]


def _of_chunks(axis: int, chunk: int, side: int) -> Iterator[int]:
    """Sides that come in whole chunks where they meet them, after a stem of so many strides: 7 * 4 for 11 -> 2.

    Args:
        axis: how long it was there.
        chunk: how long it must be, or a multiple of that.
        side: how long it was as an input.
    """
    unit = chunk << (max(1, side // max(1, axis)).bit_length() - 1)
    both = math.lcm(side, unit)  # what an earlier complaint asked for is kept
    sizes = (both if side not in PRIMES else 0, 2 * unit, unit if unit > chunk else 0)
    yield from (size for size in sizes if side < size <= _LARGEST_DIVISOR)


def _of_rows(spec: TensorSpec, rows: int) -> TensorSpec:
    return spec.resized(0, rows, fix=False) if spec.rank and 0 in spec.free else spec


def _set_free(spec: TensorSpec, size: int, only: set[int]) -> TensorSpec:
    for index in sorted(spec.free):
        if index > 0 and (spec.shape[index] in only or not only):
            spec = spec.resized(index, size, fix=False)
    return spec
