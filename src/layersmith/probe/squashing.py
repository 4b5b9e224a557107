"""What activations get and give in a call: which of their values lie where the slope is zero, or almost."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from layersmith.probe import tree
from layersmith.probe.closeness import FLAT_SIGMOID, FLAT_TANH, NEARLY_ONE_HOT
from layersmith.probe.inputs import Inputs
from layersmith.probe.steps import caller
from layersmith.probe.variations import outputs

CUTTING = frozenset(
    "relu relu_ relu6 clamp clamp_ clamp_min clamp_min_ clip threshold threshold_ hardtanh hardtanh_ "
    "hardsigmoid hardswish relu6_".split()
)
SQUASHING = {"sigmoid": FLAT_SIGMOID, "sigmoid_": FLAT_SIGMOID, "tanh": FLAT_TANH, "tanh_": FLAT_TANH}
SCALING = frozenset("mul mul_ __mul__ __rmul__ __imul__ lerp addcmul where rsub sub __rsub__ __sub__".split())
FEW = 8  # numbers: of fewer nothing is said
MASKED = -1e4  # what a mask adds
CHOICES = 3  # a softmax over fewer is soon one-hot


@dataclass(slots=True)
class Squashed:
    """One activation that depends on parameters, in one call."""

    operation: str
    file: str
    line: int
    values: Tensor  # what it took
    result: Tensor  # with its graph, which leads to the parameters before it
    flat: float  # share of values where the slope is zero, or below a hundredth of the steepest
    is_one_sided: bool  # all of those at the same end
    is_gate: bool = False  # something is multiplied with the result
    is_output: bool = False


class Squashings(TorchFunctionMode):
    """A context that notes these activations called inside on what depends on parameters, in `seen`.

    Args:
        operations: their names.
        least: numbers in a tensor; of fewer nothing is noted.
    """

    def __init__(self, operations: Collection[str], *, least: int = FEW) -> None:
        super().__init__()
        self.operations, self.least = operations, least
        self.seen: list[Squashed] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Do it; note an activation, and what multiplies with the result of one."""
        name = getattr(func, "__name__", "")
        is_watched = name in self.operations and args and isinstance(args[0], Tensor)
        taken = args[0] if is_watched else None
        values = taken.detach().clone() if taken is not None else None  # it may work in place
        result = func(*args, **(kwargs or {}))
        if name in SCALING:
            for one in self.seen:
                one.is_gate |= any(arg is one.result for arg in args)
        if (
            values is not None
            and isinstance(result, Tensor)
            and result.requires_grad
            and values.numel() >= self.least
        ):
            self._note(name, values, result)
        return result

    def _note(self, name: str, values: Tensor, result: Tensor) -> None:
        is_one_sided = False
        if name in CUTTING:
            flat = _cut(values, result.detach())
        elif name in SQUASHING:
            is_flat = values.abs() > SQUASHING[name]
            is_one_sided = bool((values > 0).all() | (values < 0).all())
            flat = float(is_flat.double().mean())
        else:
            flat = _one_hot(values, result.detach())
        self.seen.append(Squashed(name.strip("_"), *caller(), values, result, flat, is_one_sided))


def _cut(values: Tensor, result: Tensor) -> float:
    """The share of the most frequent end value; 0 for inputs that are all the same."""
    if bool((values == values.flatten()[0]).all()):
        return 0.0
    ends = torch.stack([(result == result.min()), (result == result.max())]).flatten(1)
    return float(ends.double().mean(1).max())


def _one_hot(values: Tensor, result: Tensor) -> float:
    """The share of distributions over three or more that are nearly one-hot; along the axis that sums to one."""
    axis = next(
        (
            a
            for a in range(result.ndim - 1, -1, -1)
            if bool(((result.sum(a) - 1).abs() < NEARLY_ONE_HOT).all())
        ),
        None,
    )
    if axis is None:
        return 0.0
    is_open = (values > MASKED).sum(axis) >= CHOICES
    if not bool(is_open.any()):
        return 0.0
    return float((result.amax(axis) > 1 - NEARLY_ONE_HOT)[is_open].double().mean())


def squashed(
    module: nn.Module, inputs: Inputs, operations: Collection[str], *, least: int = FEW
) -> Iterator[list[Squashed]]:
    """Each of these activations in turn, as it was in the calls on several inputs; in eval mode, but for batch norms."""
    module.eval()
    _normalise(module, inputs)
    runs: list[list[Squashed]] = []
    found = outputs(module, inputs)
    while True:
        with Squashings(operations, least=least) as watch:
            output = next(found, None)
        if output is None:
            break
        ends = {id(tensor) for tensor in tree.tensors(output)}
        for one in watch.seen:
            one.is_output = id(one.result) in ends
        runs.append(watch.seen)
        if not watch.seen:
            return
    counts = {len(run) for run in runs}
    if len(counts) == 1:
        yield from map(list, zip(*runs, strict=True))


def _normalise(module: nn.Module, inputs: Inputs) -> None:
    """Have batch norms normalise, as they do while they train: at the start their statistics are nobody's."""
    norms = [part for part in nn.Module.modules(module) if isinstance(part, _BatchNorm)]
    for part in norms:
        part.train()
    try:
        with torch.no_grad():
            _ = norms and inputs.call(module)
    except Exception:  # noqa: BLE001 - of one value a channel there is no spread
        for part in norms:
            part.eval()
