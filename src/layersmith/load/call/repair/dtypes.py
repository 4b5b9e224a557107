"""What errors say about dtypes and ranges of values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from layersmith.load.call.callee import State
from layersmith.load.call.clue import BATCH
from layersmith.load.call.repair.complaint import Complaint
from layersmith.load.values import TensorSpec, map_specs, specs

_WANTS_INTEGERS = re.compile(
    r"scalar types?: Long, Int|indices.*(Long|Int|int64)|must be (Long|Int)|tensors used as indices|"
    r"expected (scalar type|dtype) (Long|Int)|dtype to be (Long|Int)|expected TensorOptions\(dtype=(long|int)|"
    r"one_hot is only applicable|index tensor|"
    r"expects? .*dtype.*int64|"
    r"Expected dtype int(32|64)|long, int, byte|Long but (got|found) Float|must be an integer type|integral|"
    r"cannot be interpreted as an integer|only integer (tensors|scalar)|"
    r"should be.*(int|long)\b|not implemented for 'Float'.*(and|or|shift)|Expected .*Long"
)
_WANTS_FLOATS = re.compile(
    r"dtype (Long|Int|Bool) but expected (Float|Double)|"
    r"Long and Float|Float but (found|got) (scalar type )?(Long|Int|Bool)|but got (Long|long)|"
    r"not implemented for '(Long|Int|Bool)'|"
    r"should be the same|floating point|expected m1 and m2|must have the same dtype|Input dtype must be|"
    r"the `-` operator, with a bool tensor|"
    r"Bool did not match|result type|Int did not match|Expected object of scalar type"
)
_OUT_OF_RANGE = re.compile(
    r"index out of range|out of bounds|out of range for|Class values must be smaller|Target \d+ is out"
)
# Beside an image, one each.
_OF_A_ROW = re.compile(r"^(y|labels?|class(es)?|(class|cls)_(labels?|ids?)|style|domain)$")
_FEW = 4
_SHORT = 4


def integers(complaint: Complaint) -> Iterator[State]:
    """Class numbers or indices instead of floats."""
    if not _WANTS_INTEGERS.search(complaint.text):
        return
    known = next((spec for spec in _integer_specs(complaint) if not spec.low), None)  # lengths are no ids
    for name in complaint.blamed:
        value = complaint.state[name]
        if "mask" in name and complaint.says("used as indices"):  # it picks what is True
            yield complaint.with_specs(_as_flags, [name])
        if known is not None and isinstance(value, TensorSpec) and value.rank == known.rank:
            yield complaint.with_value(name, replace(known, high=_FEW))  # ids beside ids: source and target
        if isinstance(value, dict):  # one part of it
            read = [key for key in value if repr(key) in complaint.line]
            for key, part in [(key, value[key]) for key in read or value]:
                yield complaint.with_value(name, type(value)({**value, key: map_specs(_as_integers, part)}))
        if _OF_A_ROW.match(name) and name != complaint.tensors[0]:
            yield complaint.with_value(name, TensorSpec((BATCH,), torch.int64, _FEW))
        yield complaint.with_specs(_as_integers, [name])


def floats(complaint: Complaint) -> Iterator[State]:
    """Floats instead of integers or flags."""
    if not _WANTS_FLOATS.search(complaint.text):
        return
    for name in dict.fromkeys([*complaint.blamed, *complaint.tensors]):
        for other in _with_one_of_floats(complaint.state[name]):
            yield complaint.with_value(name, other)
        yield complaint.with_specs(_as_floats, [name])


def _with_one_of_floats(value: Any) -> Iterator[Any]:
    """Where all parts of a tuple or dict are whole numbers, one of them real: times beside events, scores beside ids."""
    keys = range(len(value)) if type(value) is tuple else value if type(value) is dict else ()
    parts = [value[key] for key in keys]
    if len(parts) > 1 and all(isinstance(part, TensorSpec) and part.dtype is torch.int64 for part in parts):
        for chosen in keys:
            some = {key: _as_floats(value[key]) if key == chosen else value[key] for key in keys}
            yield some if type(value) is dict else tuple(some.values())


def booleans(complaint: Complaint) -> Iterator[State]:
    """Flags for masks; complex numbers where they are meant."""
    if complaint.says(r"[Bb]ool|Byte") and not complaint.says("ambiguous"):
        masks = [
            name for name in complaint.tensors if re.search("mask|pad|valid", name)
        ] or complaint.suspects
        yield from (complaint.with_specs(_as_flags, [name]) for name in masks)
    if complaint.says(r"bitwise_\w+\W+not implemented for 'Float'"):
        yield from (complaint.with_specs(_as_flags, [name]) for name in complaint.blamed)
    if complaint.says(r"[Cc]omplex"):
        for name in complaint.blamed:
            yield complaint.with_specs(lambda spec: replace(spec, dtype=torch.complex64, high=0), [name])


def ranges(complaint: Complaint) -> Iterator[State]:
    """Smaller integers; probabilities where values must lie between 0 and 1."""
    if _OUT_OF_RANGE.search(complaint.text) and not complaint.says(r"Dimension|tuple|list|string"):
        # A loop's index, which counts from 0: a value that is taken for one may be less.
        is_of_a_loop = complaint.says(r"index \d+ is out of bounds for dimension")
        if not _integer_specs(complaint) and not is_of_a_loop:
            yield from (complaint.with_specs(_as_integers, [name]) for name in complaint.blamed)
        known = re.search(r"out of bounds .*with size (\d+)", complaint.text)
        for high in dict.fromkeys([int(known.group(1)) if known else _FEW, 2, 1]):
            if any(spec.high > high for spec in _integer_specs(complaint)):
                # The nearest alone, at first.
                for names in (complaint.suspects[:1], complaint.suspects, None):
                    yield complaint.with_specs(lambda spec, high=high: _below(spec, high), names)  # type: ignore[misc]
        yield complaint.with_specs(_short)  # positions are embedded too
    if complaint.says(
        r"between 0 and 1|in the range \[0, ?1\]|0 <= p <= 1|probabilit|non-?negative|must be positive"
    ):
        for name in complaint.blamed:
            has_floats = any(spec.dtype.is_floating_point for spec in specs(complaint.state[name]))
            yield complaint.with_specs(_float_as_share if has_floats else _as_share, [name])


def lengths(complaint: Complaint) -> Iterator[State]:
    """Equal lengths where they must be sorted; one for each column where the steps come first."""
    if complaint.says("sorted in decreasing order|enforce_sorted"):
        yield complaint.with_specs(lambda spec: replace(spec, low=spec.high - 1) if spec.low else spec)
    if counted := complaint.says(r"`len\(lengths\)` to be equal to batch_size.* \(batch_size=(\d+)\)"):
        rows = int(counted[1])
        given = [spec.shape for spec in specs(list(complaint.state.values())) if spec.rank > 1]
        steps = next((shape[0] for shape in given if shape[1] == rows), 0)
        yield complaint.with_specs(
            lambda spec: replace(spec, shape=(rows,), high=steps + 1) if spec.low and steps else spec
        )


def _short(spec: TensorSpec) -> TensorSpec:
    long = [index for index in spec.free if index > 0 and spec.shape[index] > _SHORT]
    for index in long:
        spec = spec.resized(index, _SHORT, fix=False)
    return spec


def _integer_specs(complaint: Complaint) -> list[TensorSpec]:
    return [spec for spec in specs(list(complaint.state.values())) if spec.dtype is torch.int64]


def _below(spec: TensorSpec, high: int) -> TensorSpec:
    return replace(spec, high=high) if spec.dtype is torch.int64 and spec.high > high else spec


def _as_flags(spec: TensorSpec) -> TensorSpec:
    return replace(spec, dtype=torch.bool, high=0)


def _as_integers(spec: TensorSpec) -> TensorSpec:
    if spec.dtype is torch.int64:
        return spec
    short = spec.shape[:2]
    return TensorSpec(short, torch.int64, _FEW, free=frozenset(range(len(short))))


def _as_share(spec: TensorSpec) -> TensorSpec:
    return replace(spec, high=1)


def _float_as_share(spec: TensorSpec) -> TensorSpec:
    return _as_share(spec) if spec.dtype.is_floating_point else spec


def _as_floats(spec: TensorSpec) -> TensorSpec:
    if spec.dtype.is_floating_point or spec.dtype.is_complex:
        return spec
    return replace(spec, dtype=torch.float32, high=0)
