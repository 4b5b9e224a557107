"""Matrices beside the rows that may have any number of rows: sets that each row is compared with."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from layersmith.probe import arguments, tree
from layersmith.probe.inputs import Inputs

_MATRIX = 2
_LEAST = 3  # rows of which one can be left out


def apart(inputs: Inputs, run: Callable[[Inputs], Any]) -> Inputs:
    """The same call with a row less of each matrix that need not have as many as the first: none is taken for the batch.

    Args:
        inputs: of the call.
        run: calls the module; must not depend on earlier calls.
    """
    matrices = [one for one in inputs.tensors() if one.ndim == _MATRIX and len(one) >= _LEAST]
    for other in matrices[1:]:
        if matrices[0] is next(inputs.tensors()) and len(other) == len(matrices[0]):
            shorter = arguments.replaced(inputs, {id(other): other[:-1].clone()})
            with contextlib.suppress(Exception):  # it wants as many
                before, after = ([x.shape for x in tree.tensors(run(one))] for one in (inputs, shorter))
                inputs = shorter if before == after else inputs
    return inputs
