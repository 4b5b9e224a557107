"""Scores that are set to zero where they should not count, and go into a softmax so: exp(0) counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from layersmith.probe import tree
from layersmith.probe.inputs import Inputs
from layersmith.probe.steps import SILENT, caller
from layersmith.probe.surroundings import preserved

SOFTMAX = frozenset({"softmax", "log_softmax"})
FILLS = frozenset({"masked_fill", "masked_fill_", "where", "mul", "imul", "mul_", "rmul"})
PASSES_ON = frozenset({"div", "truediv", "float", "to", "type_as", "contiguous", "dropout", "clone"})
MOST = 0.98  # of the scores may be zero


@dataclass(frozen=True, slots=True)
class Zeroed:
    """A softmax at this place, of scores of which some were set to zero."""

    share: float  # of the scores
    weight: float  # the largest that one of them got
    file: str
    line: int


def zeroed(module: nn.Module, inputs: Inputs) -> list[Zeroed]:
    """Every such softmax of one call whose result is not masked again."""
    watch = _Watch()
    with preserved(seed=0), torch.no_grad(), watch:
        inputs.clone().call(module)
    return [found for _, found in watch.open.values()]


class _Watch(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.filled: dict[int, tuple[Tensor, Tensor]] = {}  # scores, and where they were set to zero
        self.open: dict[int, tuple[Tensor, Zeroed]] = {}  # weights that nothing masked yet

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Do the operation, and follow scores into a softmax and weights out of it."""
        name = getattr(func, "__name__", "")
        given = [*tree.tensors((args, dict(kwargs or {})))]
        before = args[0].detach().clone() if name in FILLS and args and isinstance(args[0], Tensor) else None
        result = func(*args, **(kwargs or {}))
        if name in SILENT or not isinstance(result, Tensor):
            return result
        if name.strip("_") in FILLS or name in FILLS:
            for one in given:
                self.open.pop(id(one), None)
            self._note(result, given if name == "where" else [before, *given])
        elif name in PASSES_ON and given:
            if id(given[0]) in self.filled and given[0].shape == result.shape:
                self.filled[id(result)] = (result, self.filled[id(given[0])][1])
            if id(given[0]) in self.open:
                self.open[id(result)] = (result, self.open.pop(id(given[0]))[1])
        elif name in SOFTMAX and given and id(given[0]) in self.filled:
            self._weigh(name, given[0], result)
        return result

    def _note(self, result: Tensor, given: list[Any]) -> None:
        """Remember where something else than zero became zero, unless that is all that was not positive."""
        scores = [
            one
            for one in given
            if isinstance(one, Tensor) and one.is_floating_point() and one.shape == result.shape
        ]
        masks = [one for one in given if isinstance(one, Tensor) and _is_mask(one)]
        if not scores or not masks or not result.is_floating_point():
            return
        gone = (result == 0) & (scores[0] != 0)
        is_partial = 0 < float(gone.double().mean()) < MOST
        if is_partial and not torch.equal(gone, scores[0] < 0):
            self.filled[id(result)] = (result, gone)

    def _weigh(self, name: str, scores: Tensor, weights: Tensor) -> None:
        gone = self.filled[id(scores)][1]
        kept = weights.exp() if name == "log_softmax" else weights
        found = Zeroed(float(gone.double().mean()), float(kept[gone].max()), *caller())
        self.open[id(weights)] = (weights, found)


def _is_mask(one: Tensor) -> bool:
    """Whether it says of places yes or no."""
    return one.dtype is torch.bool or (one.ndim > 0 and bool(((one == 0) | (one == 1)).all()))
