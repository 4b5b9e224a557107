"""Other inputs after an error, one file for each kind of advice that an error gives."""

from __future__ import annotations

from collections.abc import Iterator

from layersmith.load.call.callee import State
from layersmith.load.call.repair import (
    beside,
    conditions,
    divisors,
    dtypes,
    kinds,
    ranks,
    relations,
    room,
    sizes,
)
from layersmith.load.call.repair.complaint import Complaint

_WIDEST = 8  # how many ways on from one error are followed
_DECISIVE = (
    kinds.one_element,
    dtypes.integers,
    dtypes.floats,
    kinds.not_given,
    kinds.not_a_tensor,
    kinds.a_tensor,
)
_ADVICE = (
    relations.pyramid,
    relations.counted_past,
    beside.rotations,
    beside.vectors,
    beside.modulations,
    beside.expanded,
    dtypes.booleans,
    dtypes.ranges,
    dtypes.lengths,
    kinds.own_state,
    ranks.batched,
    conditions.compared,
    ranks.one_column,
    ranks.fewer_indices,
    ranks.joined,
    ranks.unpacked,
    ranks.dotted,
    ranks.drawn,
    ranks.counted,
    ranks.stated,
    ranks.indexed,
    ranks.one_a_row,
    ranks.one_word,
    ranks.of_pairs,
    room.too_small,
    divisors.divisible,
    relations.halved,
    relations.cut,
    relations.doubled,
    relations.members,
    relations.without_rows,
    relations.whole_groups,
    beside.channels_last,
    sizes.classes,
    sizes.paired,
    sizes.reshaped,
    sizes.shapes,
)
_LAST_RESORT = (
    ranks.single_indices,
    relations.numbers,
    relations.unified,
    relations.square,
    relations.one_row,
)


def repaired(complaint: Complaint) -> list[State]:
    """States that may avoid the error, the likeliest first."""
    for advice in _DECISIVE:
        found = _new(complaint, advice(complaint))
        if found:
            return found
    found = _new(complaint, (state for advice in _ADVICE for state in advice(complaint)))
    return found or _new(complaint, (state for advice in _LAST_RESORT for state in advice(complaint)))


def _new(complaint: Complaint, states: Iterator[State]) -> list[State]:
    known = [repr(complaint.state)]
    found: list[State] = []
    for state in states:
        if repr(state) not in known:
            known.append(repr(state))
            found.append(state)
        if len(found) == _WIDEST:
            break
    return found
