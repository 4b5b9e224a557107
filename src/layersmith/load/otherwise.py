"""Whether a module that was built with another option takes another call than the one at hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from layersmith.load.attempt import Deadline
from layersmith.load.call.repair.messages import directed_pairs
from layersmith.load.call.search import CallSearch
from layersmith.probe import batch
from layersmith.probe.inputs import Inputs
from layersmith.probe.modes import in_mode

ROWS = 2  # axes of rows x features


def may_work_otherwise(
    module: nn.Module, given: Mapping[str, Any], inputs: Inputs, error: Exception, deadline: Deadline
) -> bool:
    """Whether a search finds a call that works, or does not come to an end in time.

    Args:
        module: built with the option.
        given: the arguments of its constructor, the option included.
        inputs: of the call that failed.
        error: what that call raised.
        deadline: of the search.
    """
    search = CallSearch(in_mode(module, training=False), dict(given), deadline)
    found = search.find()
    if found is None:
        return deadline.is_over and not (search.fails_whatever or _is_between_layers(inputs, error))
    return not batch.has_single_rows(found.make(0), inputs)


def _is_between_layers(inputs: Inputs, error: Exception) -> bool:
    """Whether a width that rows of features cannot have brought along is not what the next layer takes."""
    tensors = [*inputs.tensors()]
    given = {size for tensor in tensors for size in tensor.shape}
    pairs = directed_pairs(str(error))
    return (
        all(tensor.ndim <= ROWS for tensor in tensors)
        and bool(pairs)
        and not given & {pair[0] for pair in pairs}
    )
