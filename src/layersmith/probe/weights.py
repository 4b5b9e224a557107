"""The weights: how widely each is spread, and how many inputs and outputs it connects."""

from __future__ import annotations

import math

from torch import Tensor, nn

from layersmith.finding import Measurement

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def weights(module: nn.Module) -> list[Measurement]:
    """`weight_std` of every floating parameter of two or more dimensions; `fan_in` and `fan_out` where known.

    The fans are known of torch's linear and convolution layers, their subclasses included, groups counted.
    The shape of another module's parameter does not tell which axis is the input's: no fan is given there.
    Shared parameters appear once; the standard deviation is that of a whole population.

    Returns:
        Measurements without unit; `where` is the parameter's path, as in `named_parameters`.

    Example:
        >>> from torch import nn
        >>> [(m.name, m.value) for m in weights(nn.Linear(10, 5)) if m.name != "weight_std"]
        [('fan_in', 10.0), ('fan_out', 5.0)]
    """
    found = []
    for where, parameter in module.named_parameters():
        if nn.parameter.is_lazy(parameter) or parameter.ndim < 2 or not parameter.is_floating_point():  # noqa: PLR2004
            continue
        path, _, name = where.rpartition(".")
        numbers = {"weight_std": _std(parameter), **_fans(module.get_submodule(path), name, parameter)}
        found += [Measurement(kind, value, where=where) for kind, value in numbers.items()]
    return found


def _std(parameter: Tensor) -> float:
    return float(parameter.detach().double().std(correction=0))


def _fans(owner: nn.Module, name: str, weight: Tensor) -> dict[str, float]:
    if name != "weight":
        return {}
    if isinstance(owner, nn.Linear):
        return _as_dict(weight.shape[1], weight.shape[0])
    kernel = math.prod(weight.shape[2:])
    if isinstance(owner, CONVOLUTIONS):
        return _as_dict(weight.shape[1] * kernel, weight.shape[0] // owner.groups * kernel)
    if isinstance(owner, TRANSPOSED):
        return _as_dict(weight.shape[0] // owner.groups * kernel, weight.shape[1] * kernel)
    return {}


def _as_dict(fan_in: int, fan_out: int) -> dict[str, float]:
    return {"fan_in": float(fan_in), "fan_out": float(fan_out)}
