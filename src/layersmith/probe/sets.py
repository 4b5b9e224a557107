"""Matrices beside the rows that may have any number of rows: sets that each row is compared with."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import Any

from torch import nn

from layersmith.probe import arguments, tree
from layersmith.probe.inputs import Inputs

_SET = re.compile(r"support|bank|memory|queue|proto|gallery|dictionary|anchor|reference|^[A-Z]$")
_MATRIX = 2
_LEAST = 3  # rows of which one can be left out


def apart(module: nn.Module, inputs: Inputs, run: Callable[[Inputs], Any]) -> Inputs:
    """The same call with a row less of each matrix that is a set by its name, and may have any number of rows.

    Args:
        module: whose inputs they are.
        inputs: of the call.
        run: calls the module; must not depend on earlier calls.
    """
    for _, name, one in [*arguments.named(module, inputs)]:
        if _SET.search(name) and one.ndim == _MATRIX and len(one) >= _LEAST:
            shorter = arguments.replaced(inputs, {id(one): one[:-1].clone()})
            with contextlib.suppress(Exception):  # it wants as many
                before, after = ([x.shape for x in tree.tensors(run(given))] for given in (inputs, shorter))
                inputs = shorter if before == after else inputs
    return inputs
