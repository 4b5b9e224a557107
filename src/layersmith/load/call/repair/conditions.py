"""What the condition of a failed assert, or of the `if` above a raise, says of sizes and shapes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from layersmith.load import failure
from layersmith.load.call.callee import State
from layersmith.load.call.clue import BATCH
from layersmith.load.call.repair.complaint import Complaint
from layersmith.load.call.repair.messages import Pair
from layersmith.load.call.syntax import shape_owner
from layersmith.load.values import TensorSpec

_MOST = 16  # members of a list
_EVEN = (4, 8)  # rows
_HIGHEST = 6  # rank
_RANK = re.compile(
    r"(\w+)(?:\.data)?\.(?:dim\(\)|ndim|ndimension\(\))|len\((\w+)(?:\.data)?\.(?:shape|size\(\))\)"
)


def compared(complaint: Complaint) -> Iterator[State]:
    """What a failed assert compares with a shape, or with a number that the constructor was told, becomes that."""
    for test in failure.comparisons(complaint.error):
        yield from _of_shape(complaint, test.left, test.got, test.wanted)
        yield from _of_shape(complaint, test.right, test.wanted, test.got)
        for asked, wanted in ((test.left, test.wanted), (test.right, test.got)):
            yield from _of_length(complaint, asked, wanted)
            yield from _of_rank(complaint, asked, wanted)
    told = {value for value in complaint.callee.arguments.values() if type(value) is int}
    for given, wanted in condition_pairs(complaint):
        if wanted in told:
            yield from complaint.with_size(given, wanted)


def _of_shape(complaint: Complaint, asked: ast.expr, own: Any, other: Any) -> Iterator[State]:
    """The argument whose `skip.size()` or `skip.shape` is asked for, with the shape that the other side has."""
    owner = shape_owner(asked) or asked
    name = getattr(owner, "id", "")
    spec = complaint.state.get(name)
    is_it = isinstance(spec, TensorSpec) and isinstance(own, tuple) and tuple(own) == spec.shape
    if (
        isinstance(spec, TensorSpec)
        and is_it
        and isinstance(other, tuple)
        and all(type(n) is int for n in other)
    ):
        yield complaint.with_value(name, replace(spec, shape=tuple(other), free=frozenset()))


def _of_length(complaint: Complaint, asked: ast.expr, wanted: Any) -> Iterator[State]:
    """The list of which `len(maps)` is asked for, as long as the other side says."""
    name = failure.name_in(asked, "len")
    items = complaint.state.get(name)
    if isinstance(items, list | tuple) and items and type(wanted) is int and 0 < wanted <= _MOST:
        yield complaint.with_value(name, type(items)([*items, *[items[-1]] * wanted][:wanted]))


def _of_rank(complaint: Complaint, asked: ast.expr, wanted: Any) -> Iterator[State]:
    """The tensor of which `x.dim()`, `x.ndim` or `len(x.shape)` is asked for, of the rank that the other side says.

    In a function that forward calls it may have another name: then it is the only one.
    """
    found = _RANK.fullmatch(ast.unparse(asked))
    name = next(filter(None, found.groups()), "") if found else ""
    if found and name not in complaint.state and len(complaint.tensors) == 1:
        name = complaint.tensors[0]
    if isinstance(complaint.state.get(name), TensorSpec) and type(wanted) is int and 0 < wanted <= _HIGHEST:
        yield complaint.with_rank(wanted, [name])


def condition_pairs(complaint: Complaint) -> Iterator[Pair]:
    """The two sides of the failed assert or guarded raise."""
    for test in failure.comparisons(complaint.error):
        if type(test.got) is int and type(test.wanted) is int:
            yield from _divisor_pairs(complaint, test)
            yield from ((test.got, test.wanted), (test.wanted, test.got))
        elif isinstance(test.got, tuple | list) and isinstance(test.wanted, tuple | list):
            yield from (
                (a, b)
                for a, b in zip(test.got, test.wanted, strict=False)
                if a != b and type(a) is type(b) is int
            )


def _divisor_pairs(complaint: Complaint, test: failure.Comparison) -> Iterator[Pair]:
    """For `h % 8 == 0`: h and the multiple of 8 nearest to it."""
    if not (isinstance(test.left, ast.BinOp) and isinstance(test.left.op, ast.Mod)):
        return
    for frame, _ in failure.frames(complaint.error):
        try:
            size, divisor = failure.value_of(test.left.left, frame), failure.value_of(test.left.right, frame)
        except Exception:  # noqa: BLE001, S112 - not this frame
            continue
        # A queue that whole batches fill: `self.K % len(keys) == 0`.
        if type(size) is int and divisor == BATCH:
            yield from ((divisor, rows) for rows in _EVEN if size % rows == 0)
        if type(size) is int and type(divisor) is int and divisor:
            yield size, divisor * max(1, round(size / divisor)) if divisor > 3 else divisor * 8  # noqa: PLR2004
        return
