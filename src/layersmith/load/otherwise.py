"""Whether a module whose call fails may work in another: with more steps, or with inputs that a search finds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from layersmith.load.attempt import Deadline, OutOfBudget, contained
from layersmith.load.call.repair.messages import directed_pairs
from layersmith.load.call.search import CallSearch
from layersmith.probe import batch, influence
from layersmith.probe.inputs import Inputs
from layersmith.probe.modes import in_mode

ROWS = 2  # axes of rows x features


def error_of(module: nn.Module, inputs: Inputs, deadline: Deadline, *, seed: int) -> Exception | None:
    """What a call raises; None where it works, or does not come to an end in time."""
    try:
        with contained(deadline, seed=seed), torch.no_grad():
            inputs.call(module)
    except OutOfBudget:
        return None
    except Exception as error:  # noqa: BLE001 - whatever forward raises
        return error
    return None


def may_work_otherwise(
    module: nn.Module,
    inputs: Inputs,
    given: Mapping[str, Any],
    error: Exception,
    deadline: Deadline,
    *,
    is_guess: bool,
) -> bool:
    """Whether more steps work, or a search finds a call that does or runs out of time.

    Args:
        module: whose call failed.
        inputs: of that call.
        given: the arguments of its constructor.
        error: what it raised.
        deadline: of it all.
        is_guess: whether inference chose how long the inputs are.
    """
    if is_guess and error_of(module, influence.longer(inputs), deadline, seed=0) is None:
        return True
    search = CallSearch(in_mode(module, training=False), dict(given), deadline)
    found = search.find()
    if found is None:
        is_code = search.fails_whatever or _is_between_layers(inputs, error)
        return deadline.is_over and not is_code
    return not batch.has_single_rows(found.make(0), inputs)


def _is_between_layers(inputs: Inputs, error: Exception) -> bool:
    """Whether a width that rows of features cannot have brought along is not what the next layer takes."""
    tensors = [*inputs.tensors()]
    sizes = {size for tensor in tensors for size in tensor.shape}
    pairs = directed_pairs(str(error))
    are_rows = all(tensor.ndim <= ROWS for tensor in tensors)
    return are_rows and bool(pairs) and not sizes & {pair[0] for pair in pairs}
