"""Unusual but finite inputs: zeros, constant rows, tiny and huge values, one-hot rows, extreme logits."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from layersmith.probe import arguments
from layersmith.probe.closeness import gap
from layersmith.probe.inputs import Inputs

Edit = Callable[[Tensor], Tensor]

# Arguments that are no signal: what they may hold is known to their author only.
KEPT = re.compile(
    r"mask|msk|pad|target|label|var|sigma|std|scale|weight|prob|length|lens|time|delta|dt$|eps|temp|mu$",
    re.IGNORECASE,
)

SETTLES = 30.0  # times larger: a softmax is settled by it


def _one_hot(x: Tensor) -> Tensor:
    if x.ndim == 0 or x.shape[-1] == 0:
        return x
    return torch.zeros_like(x).scatter(-1, x.argmax(-1, keepdim=True), 1.0)


DEGENERATE: dict[str, Edit] = {  # where a norm, a spread or a sum can be zero
    "all zeros": torch.zeros_like,
    "constant rows": lambda x: x[..., :1].expand_as(x).clone() if x.ndim else x,
    "one-hot rows": _one_hot,
}
SCALED: dict[str, Edit] = {
    "inputs x 1e-4": lambda x: x * 1e-4,
    "inputs x 3": lambda x: x * 3,  # a product of inputs times 10 leaves float64 as well as float32
    "inputs x 10": lambda x: x * 10,
    "inputs x 100": lambda x: x * 100,
    "inputs of +-25": lambda x: x.sign() * 25,
    "inputs x 1e4": lambda x: x * 1e4,
}
SHIFTED: dict[str, Edit] = {"inputs + 5000": lambda x: x + 5e3}


@dataclass(frozen=True, slots=True)
class Edge:
    """One unusual call."""

    name: str
    inputs: Inputs
    is_degenerate: bool  # zero or constant, where a mathematical result may not exist


def edges(module: nn.Module, inputs: Inputs) -> Iterator[Edge]:
    """The unusual calls that keep to the domain that the usual ones show: signed, positive, or 0 to 1."""
    signals = [
        tensor
        for _, name, tensor in arguments.named(module, inputs)
        if tensor.is_floating_point() and not KEPT.search(name) and not _is_kept(tensor)
    ]
    for edits in (DEGENERATE, SCALED, SHIFTED):
        for name, edit in edits.items():
            new = {id(x): edit(x.detach()) for x in signals if _suits(x, edits, name)}
            if new:
                yield Edge(name, arguments.replaced(inputs, new), edits is DEGENERATE)


def with_a_loud_row(inputs: Inputs, axis: int) -> Inputs:
    """The inputs with the second row far larger: a maximum over all rows is then that row's."""

    def louder(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point() or tensor.ndim <= axis + 1 or tensor.shape[axis] < 3:  # noqa: PLR2004 - one between
            return tensor
        new = tensor.clone()
        new.select(axis, 1).mul_(SETTLES)
        return new

    return inputs.map(louder)


def _suits(x: Tensor, edits: dict[str, Edit], name: str) -> bool:
    is_unit, is_positive = float(x.min()) >= 0 and float(x.max()) <= 1, float(x.min()) > 0
    if is_unit:
        return edits is DEGENERATE
    return not is_positive or edits is SCALED or name == "constant rows"


def _is_kept(x: Tensor) -> bool:
    """Whether it looks like a mask, probabilities or their logarithms, which have no edges of this kind."""
    if not x.numel() or bool(((x == 0) | (x == 1)).all()):
        return True
    is_log = x.ndim > 0 and float(x.max()) <= 0
    for axis in range(x.ndim):
        sums = (x.detach().exp() if is_log else x.detach()).sum(axis)
        if (is_log or float(x.min()) >= 0) and not gap(torch.ones_like(sums), sums).is_open:
            return True
    return False
