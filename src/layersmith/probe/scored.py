"""Scores of classes beside a target for each place, as a loss takes them: in rows of places, and parts of these."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from layersmith.probe.arguments import replaced
from layersmith.probe.inputs import Inputs

PLACES = 6


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores of classes, and a target for each place."""

    scores: Tensor
    targets: Tensor
    is_last: bool  # whether the classes are the scores' last axis

    def cut(self, start: int, stop: int) -> Scored:
        """These places along the last axis of the targets."""
        scores = self.scores.narrow(-2 if self.is_last else -1, start, stop - start)
        return replace(self, scores=scores, targets=self.targets.narrow(-1, start, stop - start))

    @property
    def some(self) -> int:
        """Half of the places."""
        return self.targets.shape[-1] // 2

    def halves(self) -> tuple[Scored, Scored]:
        """The first half of the places, and the rest."""
        size = self.targets.shape[-1]
        return self.cut(0, self.some), self.cut(self.some, size)

    def joined(self, other: Scored) -> Scored:
        """These places and others."""
        scores = torch.cat([self.scores, other.scores], -2 if self.is_last else -1)
        return replace(self, scores=scores, targets=torch.cat([self.targets, other.targets], -1))

    def within(self, inputs: Inputs, given: Scored) -> Inputs:
        """A call with these for what was given."""
        return replaced(inputs, {id(given.scores): self.scores, id(given.targets): self.targets})


def given(inputs: Inputs) -> Scored | None:
    """The one tensor of whole numbers, and the scores that have an axis more; None where there are no such."""
    floats = [one for one in inputs.tensors() if one.is_floating_point()]
    whole = [one for one in inputs.tensors() if one.dtype is torch.int64 and one.ndim]
    if len(whole) != 1 or not floats or floats[0].ndim != whole[0].ndim + 1:
        return None
    shape, *_ = floats[0].shape, None
    is_last = shape[:-1] == whole[0].shape
    if not is_last and (shape[0], *shape[2:]) != (*whole[0].shape,):
        return None
    return Scored(floats[0], whole[0], is_last)


def laid(given: Scored, value: int) -> Iterator[Scored]:
    """The same scores with two rows of places, their classes last or second, then as given; no target is `value`."""
    flat = (given.scores if given.is_last else given.scores.movedim(1, -1)).flatten(0, -2).detach()
    classes = flat.shape[-1]
    places = PLACES + (classes == PLACES)
    scores = flat[torch.arange(2 * places) % len(flat)].view(2, places, classes)
    targets = _other_than(value, (torch.arange(2 * places) % classes).view(2, places), classes)
    yield Scored(scores, targets, is_last=True)
    yield Scored(scores.mT, targets, is_last=False)
    yield replace(
        given, targets=_other_than(value, given.targets, given.scores.shape[-1 if given.is_last else 1])
    )


def _other_than(value: int, targets: Tensor, classes: int) -> Tensor:
    return torch.where(targets == value, (targets + 1) % classes, targets)
