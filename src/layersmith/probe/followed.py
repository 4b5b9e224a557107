"""What is noted while operations are watched: a layer, and a tensor that holds a function of its result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from layersmith.probe.expression import Expression


@dataclass(slots=True)
class Layer:
    """The first use of a weight in a product, and what becomes of its result."""

    weight: str
    fan_in: int
    is_plain: bool  # the operation uses the whole parameter as one matrix, or is a convolution
    path: str = ""  # of the submodule that computes the product
    is_input_first: bool = False  # the matrix is [in, out], as in `x @ weight`
    is_convolution: bool = False
    groups: int = 1
    keeps_size: bool = (
        True  # of a convolution: stride 1, and padded so that the centre of the kernel sees all
    )
    bias: str = ""
    reads: Layer | None = None  # the layer whose activated output it takes, feature by feature
    expression: Expression = field(default_factory=Expression)  # what is done, elementwise, to its result
    is_normalised: bool = False  # a normalisation takes its result up
    is_scaled: bool = False  # a parameter multiplies it, as LayerScale does
    ends_branch: bool = False  # its result is added to something that it depends on
    is_reused: bool = False  # as in a recurrent network, or tied
    input_rms: float = 0.0


@dataclass(slots=True)
class Signal:
    """A tensor that holds an elementwise function of a layer's result."""

    layer: Layer
    expression: Expression
    feature_axis: int | None  # where the layer's outputs lie, counted from the end; None once it is not known
    features: int


def extended(
    func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], before: list[Signal | None], first: Signal
) -> Signal | None:
    """The signal after one more operation; none if another layer's takes part."""
    if any(signal is not None and signal.layer is not first.layer for signal in before):
        return None
    taken = [
        signal.expression if signal is not None else arg for arg, signal in zip(args, before, strict=True)
    ]
    expression = Expression.of(func, tuple(taken), kwargs)
    first.layer.expression = expression
    return Signal(first.layer, expression, first.feature_axis, first.features)


def viewed(signal: Signal, taken: Tensor, result: Tensor) -> Signal | None:
    """The signal in another shape: a part of it is not it."""
    if result.numel() != taken.numel():
        return None
    axis, features = signal.feature_axis, signal.features
    if axis is not None and (
        result.ndim < -axis or result.shape[axis] != features or _is_turned(taken, result, axis)
    ):
        axis = None
    return Signal(signal.layer, signal.expression, axis, features)


def _is_turned(taken: Tensor, result: Tensor, axis: int) -> bool:
    return taken.stride()[axis] != result.stride()[axis]
