"""Functions whose default axis is 1, given what has its features last."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from layersmith.probe import source, tree
from layersmith.probe.inputs import Inputs
from layersmith.probe.steps import caller
from layersmith.probe.surroundings import preserved

ALONG_ONE = {
    "normalize": 3,
    "cosine_similarity": 3,
}  # and the number of arguments by which their axis is given
CALLS = r"\b(?:normalize|cosine_similarity)\("
MAKERS = {"linear", "layer_norm", "rms_norm", "embedding"}  # their features are last
SEQUENCE = 3  # axes of rows, steps and features


@dataclass(frozen=True, slots=True)
class Misplaced:
    """Such a call, and the shape of what it is given."""

    function: str
    shape: tuple[int, ...]
    file: str
    line: int


def misplaced(module: nn.Module, inputs: Inputs) -> list[Misplaced]:
    """Every call, in one forward, that names no axis and is given a sequence of features which a layer just made."""
    watch = _Watch()
    with preserved(seed=0), watch:
        inputs.call(module)
    return watch.found


class _Watch(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Misplaced] = []
        self.made: dict[int, Tensor] = {}  # by layers, or number by number from what they made

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Do the operation; keep whose results have their features last."""
        result = func(*args, **(kwargs or {}))
        name, given = getattr(func, "__name__", ""), [*tree.tensors([args, dict(kwargs or {})])]
        if not isinstance(result, Tensor):
            return result
        are_last = [one for one in given if id(one) in self.made and one.ndim == SEQUENCE]
        if name in ALONG_ONE and are_last:
            place = caller()
            if not _names_axis(name, *place):
                self.found.append(Misplaced(name, tuple(are_last[0].shape), *place))
        elif name in MAKERS or any(one.shape == result.shape for one in are_last):
            self.made[id(result)] = result
        return result


def _names_axis(name: str, file: str, line: int) -> bool:
    """Whether the call in this line says along which axis; true where there is no such call to be read."""
    calls = [
        node
        for node in ast.walk(source.tree_of(file))
        if isinstance(node, ast.Call)
        and node.lineno <= line <= (node.end_lineno or 0)
        and getattr(node.func, "attr", getattr(node.func, "id", "")) == name
    ]
    return not calls or any(
        len(call.args) >= ALONG_ONE[name] or any(word.arg in ("dim", None) for word in call.keywords)
        for call in calls
    )
