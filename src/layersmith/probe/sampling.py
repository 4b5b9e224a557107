"""The moments of an activation that mixes features (GLU, softmax, a normalisation), on random rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from layersmith.errors import UsageError
from layersmith.probe.activation import frozen
from layersmith.probe.closeness import gap
from layersmith.probe.quadrature import Function, laboratory

ELEMENTS = 2**18  # of the sample
SEED = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """What was found on independent rows of independent numbers."""

    shape: tuple[int, ...]  # of a row
    second_moment: float
    relative_error: float  # of the second moment: its standard error over its value
    steepness: float  # E (J^T u)^2, u ~ N(0, 1): what remains of a gradient of size 1
    mean: float
    share_of_zeros: float


def sampled(activation: Callable[[Tensor], Tensor], mean: float, std: float, features: int) -> Sample:
    """The moments of the activation of rows whose numbers are from N(mean, std^2), in eval mode.

    Raises:
        UsageError: if it accepts no row that we know to offer, mixes rows, or is random.
    """
    function = frozen(activation)
    with laboratory():
        shape = _accepted_shape(function, activation, features)
        generator = torch.Generator().manual_seed(SEED)
        rows = max(64, ELEMENTS // math.prod(shape))
        z = torch.randn(rows, *shape, dtype=torch.float64, generator=generator)
        z = (mean + std * z).requires_grad_()
        value = function(z)
        _require_rows(function, z.detach(), value)
        u = torch.randn(value.shape, dtype=torch.float64, generator=generator)
        gradient = torch.zeros_like(z)
        if value.requires_grad:
            gradient = torch.autograd.grad((value * u).sum(), z, allow_unused=True)[0]
    value = value.detach()
    per_row = value.flatten(1).square().mean(1)
    second = float(per_row.mean())
    error = float(per_row.std()) / math.sqrt(rows) / second if second > 0 else 0.0
    steepness = 0.0 if gradient is None else float(gradient.square().mean())
    zeros = float((value == 0).double().mean())
    return Sample(shape, second, error, steepness, float(value.mean()), zeros)


def _accepted_shape(function: Function, activation: object, features: int) -> tuple[int, ...]:
    tried = []
    for shape in _shapes(activation, features):
        try:
            value = function(torch.ones(2, *shape, dtype=torch.float64))
        except Exception as error:  # noqa: BLE001 - whatever it says, another shape may suit it
            tried.append(f"{list(shape)}: {error!s:.60}")
            continue
        if value.ndim >= 2 and len(value) == 2 and value.numel():  # noqa: PLR2004 - rows in, rows out
            return shape
        tried.append(f"{list(shape)}: it made {list(value.shape)} of two rows")
    raise UsageError("it takes no row of shape " + "; ".join(tried[:2]))


def _shapes(activation: object, features: int) -> Iterator[tuple[int, ...]]:
    """Rows to offer: of the size that a module, or the first part of it that says so, is made for."""
    for part in nn.Module.modules(activation) if isinstance(activation, nn.Module) else ():
        shape = getattr(part, "normalized_shape", None)
        if shape:
            yield tuple(shape)
        for name in ("num_features", "num_channels", "num_parameters", "in_features", "in_channels"):
            size = getattr(part, name, None)
            if isinstance(size, int) and size > 0:
                yield from ((size,), (size, 64), (size, 8, 8))
    yield from ((features,), (features, 8), (features, 8, 8))


def _require_rows(function: Function, z: Tensor, value: Tensor) -> None:
    half = len(z) // 2  # the later one: of a running sum the earlier half would be the same
    if gap(value[half:].float().detach(), function(z[half:]).float().detach()).is_open:
        raise UsageError("its rows depend on each other, or on chance")
