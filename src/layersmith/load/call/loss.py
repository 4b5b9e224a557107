"""Modules that compare a prediction with a target: pairs of matching shapes."""

from __future__ import annotations

import re

import torch

from layersmith.load.call.callee import Callee, State
from layersmith.load.call.clue import BATCH
from layersmith.load.constructor.names import WIDTH, plain
from layersmith.load.values import TensorSpec

_CLASS = re.compile(r"Loss|Criterion|Dice|Jaccard|Tversky|Focal|CE$")
_TARGET = re.compile(r"^(target|targets|label|labels|y|y_true|true|gt|ground_truth)$")
_SHAPES = (
    (BATCH, WIDTH),
    (BATCH,),
    (BATCH, 7, 16, 16),
    (BATCH, 1, 16, 16),
    (BATCH, 3, 16, 16),
    (BATCH, 7, WIDTH),
)


def is_loss(callee: Callee) -> bool:
    """Whether the class or its second parameter is named so."""
    words = [plain(name) for name in callee.required][:2]
    has_target = len(words) > 1 and bool(_TARGET.match(words[1]))
    return has_target or (len(callee.parameters) > 1 and bool(_CLASS.search(type(callee.module).__name__)))


def loss_states(callee: Callee) -> list[State]:
    """Pairs of floats, probabilities, class numbers and flags; whatever else is asked for is a weight."""
    first, second, *rest = callee.required if len(callee.required) > 1 else list(callee.parameters)[:2]
    return [
        {first: pair[0], second: pair[1], **{name: TensorSpec(shape, high=1) for name in rest}}
        for shape in _SHAPES
        for pair in _pairs(shape)
    ]


def _pairs(shape: tuple[int, ...]) -> list[tuple[TensorSpec, TensorSpec]]:
    labels = TensorSpec((shape[0], *shape[2:]), torch.int64, 2)
    return [
        (TensorSpec(shape), TensorSpec(shape)),
        (TensorSpec(shape, high=1), TensorSpec(shape, high=1)),
        (TensorSpec(shape), labels),
        (TensorSpec(shape), TensorSpec(shape, torch.int64, 2)),
    ]
