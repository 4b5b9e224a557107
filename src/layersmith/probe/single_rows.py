"""What an example of one row leaves open: whether two rows work, and three."""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
from torch import nn

from layersmith.probe import axes, batch, source
from layersmith.probe.inputs import Inputs

MORE = (2, 3, 5)
JOINED = re.compile(
    r"must match except in dimension [1-9]\d*. Expected size (?:1 but got size 2|2 but got size 1) "
    r"|view size is not compatible"
)
Error = Callable[[Inputs], Exception | None]  # what a call with these inputs raises


def joined(inputs: Inputs, error: Error) -> Exception | None:
    """What two rows raise, if something of one row is joined to them, or a view is made that one row alone allows."""
    two = batch.resized(inputs, 2, axis=0) if axes.is_one_row(inputs) else None
    raised = error(two) if two is not None else None
    return raised if raised is not None and JOINED.search(str(raised)) else None


def third(module: nn.Module, inputs: Inputs, error: Error) -> Exception | None:
    """What three rows raise, and five, where one works and two of it do."""
    if not all(len(one) == 1 for one in inputs.tensors() if one.ndim):
        return None

    def several(count: int) -> Inputs:  # a vector of one number may be of all rows
        return inputs.map(lambda x: torch.cat([x] * count) if x.ndim > 1 else x)

    found = {count: raised for count in MORE if (raised := error(several(count))) is not None}
    are_told = {*found} == {*MORE[1:]} and not any(source.is_refusal(one, module) for one in found.values())
    return found[MORE[1]] if are_told else None
