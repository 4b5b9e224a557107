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
    named[:0] = _of_chunks(complaint)
    product = complaint.says(r"product.*\((\d+), (\d+)\)")
    if product:
        named.insert(0, int(product.group(1)) * int(product.group(2)))
    inner = {s.shape[i] for s in specs(list(complaint.state.values())) for i in s.free if 0 < i < s.rank}
    hit = inner & set(complaint.numbers)  # the batch is no size to divide
    for size in [*named, 16, 64, 32, 8, 36]:
        target = size * 2 if size < 8 else size  # noqa: PLR2004 - one block is no sequence
        yield complaint.with_specs(lambda spec, target=target: _set_free(spec, target, hit))  # type: ignore[misc]


def _of_chunks(complaint: Complaint) -> Iterator[int]:
    """Sides that come in whole chunks where they meet them, after a stem of so many strides: 7 * 4 for 11 -> 2."""
    chunks = complaint.says(r"divide axis of length (\d+) in chunks of (\d+)")
    if not chunks or not int(chunks.group(1)):
        return
    axis, chunk = map(int, chunks.groups())
    side = max(
        (size for spec in specs(list(complaint.state.values())) for size in spec.shape[2:]), default=axis
    )
    unit = chunk << (max(1, side // axis).bit_length() - 1)
    both = math.lcm(side, unit)  # what an earlier complaint asked for is kept
    yield from (size for size in (both,) if side not in PRIMES and side < both <= _LARGEST_DIVISOR)
    yield from (2 * unit, unit) if unit > chunk else (2 * unit,)


def _of_rows(spec: TensorSpec, rows: int) -> TensorSpec:
    return spec.resized(0, rows, fix=False) if spec.rank and 0 in spec.free else spec


def _set_free(spec: TensorSpec, size: int, only: set[int]) -> TensorSpec:
    for index in sorted(spec.free):
        if index > 0 and (spec.shape[index] in only or not only):
            spec = spec.resized(index, size, fix=False)
    return spec
