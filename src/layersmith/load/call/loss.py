"""Modules that compare a prediction with a target: pairs of matching shapes."""

from __future__ import annotations

import re
from typing import Any

import torch

from layersmith.load.call.callee import Callee, State
from layersmith.load.call.clue import BATCH
from layersmith.load.call.named import ENTITIES, LOSS
from layersmith.load.constructor.names import WIDTH, plain
from layersmith.load.values import TensorSpec

_CLASS = re.compile(r"Loss|Criterion|Dice|Jaccard|Tversky|Focal|CE$")
_TARGET = re.compile(r"^(target|targets|label|labels|y|y_true|true|gt|ground_truth)$")
_PREDICTED = re.compile(r"^(?:y_)?(?:pred(?:icted|iction|s)?|logits|outputs?|hat)(?:_|$)|_(?:pred|hat)$")
_TRUE = re.compile(r"^(?:gt|true|target|label|y_true)(?:_|$)|_(?:gt|true)$")
_LABELS = re.compile(r"^(label|labels|class|classes)$")
_PER_CLASS = re.compile(r"(^|_)(cls|class)")
_TEXTS = re.compile(r"^(split|prefix|phase)$")  # by which results are named
CLASSES = re.compile(r"^(n|num)_?(class(es)?|labels)$|^classes$")
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
    if words and ENTITIES.match(words[0]):  # users and items, of a model that is called within
        return False
    if words and callee.namesake_size(words[0]):  # `obs_dim` for `obs`: a network is asked, and then compared
        return False
    has_target = len(words) > 1 and bool(_TARGET.match(words[1])) and not list(callee.module.children())
    return has_target or (len(callee.parameters) > 1 and bool(_CLASS.search(type(callee.module).__name__)))


def has_labels(callee: Callee) -> bool:
    """Whether the second parameter holds class numbers, by what is known of it or by its name."""
    second = _compared(callee)[1]
    return callee.clues[second].dtype is torch.int64 or bool(_LABELS.match(plain(second)))


def _compared(callee: Callee) -> list[str]:
    """What must be given, the prediction and the target first; both where the target may be left out."""
    names = callee.required if len(callee.required) > 1 else list(callee.parameters)[:2]
    names = sorted(
        names, key=lambda name: bool(LOSS.search(plain(name)))
    )  # another loss, to which it is added
    is_turned = bool(_TRUE.search(plain(names[0])) and _PREDICTED.search(plain(names[1])))
    return [names[1], names[0], *names[2:]] if is_turned else names


def loss_states(callee: Callee) -> list[State]:
    """Pairs of floats, probabilities, class numbers and flags; whatever else is asked for is a weight."""
    first, second, *rest = _compared(callee)
    classes = callee.told(CLASSES) or _listed(callee) or callee.clues[first].reach
    shapes = [(s[0], classes, *s[2:]) if classes and len(s) > 1 else s for s in _SHAPES]
    if callee.clues[first].is_flat and not callee.clues[first].reach:  # maps, not boxes
        shapes.sort(key=lambda shape: -len(shape))
    if callee.clues[first].reach:  # of boxes: rows of so many numbers
        shapes = [(BATCH, callee.clues[first].reach), *shapes]
    pairs = [pair for shape in dict.fromkeys(shapes) for pair in _pairs(shape, classes)]
    if callee.clues[second].dtype is torch.int64:  # what is made whole anyway comes whole
        pairs = [(one, other) for one, other in pairs if other.dtype is torch.int64]
    if has_labels(callee):
        pairs.sort(key=lambda pair: pair[1].dtype is not torch.int64 or pair[0].rank == pair[1].rank)
    return [
        {first: pair[0], second: pair[1], **{name: _beside(pair[0], name) for name in rest}} for pair in pairs
    ]


def _listed(callee: Callee) -> int:
    """How many classes a list that has an entry for each says: `cls_num_list`; 0 where there is none."""
    lists = (v for n, v in callee.arguments.items() if isinstance(v, list | tuple) and _PER_CLASS.search(n))
    return next(map(len, lists), 0)


def _beside(prediction: TensorSpec, name: str) -> Any:
    """A weight for each number, a label for each pair of rows, another loss, or a text."""
    if _TEXTS.match(plain(name)):
        return "train"
    if LOSS.search(plain(name)):
        return TensorSpec(())
    is_label = bool(_LABELS.match(plain(name)) or _TARGET.match(plain(name)))
    return (
        TensorSpec(prediction.shape[:1], torch.int64, 2) if is_label else TensorSpec(prediction.shape, high=1)
    )


def _pairs(shape: tuple[int, ...], classes: int) -> list[tuple[TensorSpec, TensorSpec]]:
    labels = TensorSpec((shape[0], *shape[2:]), torch.int64, classes or 2)
    return [
        (TensorSpec(shape), TensorSpec(shape)),
        (TensorSpec(shape, high=1), TensorSpec(shape, high=1)),
        (TensorSpec(shape), labels),
        (TensorSpec(shape), TensorSpec(shape, torch.int64, 2)),
    ]
