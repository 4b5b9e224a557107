"""New starting weights for any module: `initialize_` and its methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from layersmith.errors import UsageError
from layersmith.probe import tree
from layersmith.probe.followed import Layer
from layersmith.probe.inputs import Inputs
from layersmith.probe.layers import layers
from layersmith.probe.rehearsal import rehearsal
from layersmith.probe.surroundings import preserved
from layersmith.repair.draw import draw_gain, draw_orthogonal
from layersmith.repair.scale import fit, shrink_branches

METHODS = ("gain", "orthogonal", "lsuv", "residual")


def initialize_(
    module: nn.Module,
    inputs: Any,
    *,
    method: str | None = None,
    only: Sequence[str] | None = None,
    generator: torch.Generator | None = None,
) -> nn.Module:
    """Draw new starting weights in place, for every weight that the module multiplies its inputs with.

    One call on a copy of the module shows each weight's fan-in and the function that really follows it. Left as
    they are: embeddings, normalisations, scales (LayerScale), frozen weights, and weights that are zero, for
    those are meant to be (zero-initialised residual branches, fixup).

    Methods:
    - `gain`: N(0, g^2 / fan_in) with the computed gain g of the activation that follows; biases zero (He 2015).
    - `orthogonal`: orthogonal matrices on the edge of chaos, in mirrored pairs where that makes the stack
      linear, delta-orthogonal kernels in convolutions: signal and gradient keep their size in any depth. See
      `layersmith.nn.initialization`.
    - `lsuv`: orthogonal matrices, each scaled in one pass so that its output has variance 1 on these inputs
      (Mishkin and Matas 2016, All you need is a good init).
    - `residual`: `orthogonal`, with the last layer of each of the B residual branches divided by sqrt(B), so
      that the sum of all branches is as large as the input (as Zhang et al. 2019, Fixup, without training).

    Args:
        module: is changed in place, and returned.
        inputs: a tensor, a tuple of positional or a dict of keyword arguments of one call.
        method: one of those; None takes `residual` for a module with residual branches, else `orthogonal`.
        only: names of the weights to draw, as in `named_parameters`; the others are left as they are.
        generator: where random numbers come from; None is torch's global one, as for `torch.nn.init`.

    Raises:
        UsageError: for an unknown method or weight, a module without weights or on the meta device, inputs that
            are not finite, or outputs that are not finite even afterwards.

    Example:
        >>> import torch
        >>> import layersmith
        >>> model = torch.nn.Sequential(torch.nn.Linear(10, 5), torch.nn.SiLU(), torch.nn.Linear(5, 1))
        >>> model = layersmith.initialize_(model, torch.randn(32, 10))
    """
    if method is not None and method not in METHODS:
        raise UsageError(f"the method must be one of {', '.join(METHODS)}, not {method!r}")
    inputs = Inputs.of(inputs)
    _require_values(module, inputs)
    found = layers(module, inputs)
    chosen = _chosen(module, found, only)
    method = method or ("residual" if any(layer.ends_branch for layer in chosen) else "orthogonal")
    with rehearsal(module, inputs, seed=0) as twin:
        pass  # a copy, on which to work: what fails leaves the module as it was
    with torch.no_grad():
        _apply(method, twin, inputs, chosen, generator)
        _require_finite(twin, inputs)
        for parameter, drawn in zip(module.parameters(), twin.parameters(), strict=True):
            parameter.copy_(drawn)
    return module


def _apply(
    method: str, module: nn.Module, inputs: Inputs, chosen: list[Layer], generator: torch.Generator | None
) -> None:
    if method == "gain":
        draw_gain(module, chosen, generator)
        return
    # The branches of a residual network lie beside each other, not one after the other.
    depth = {"orthogonal": sum(bool(layer.expression.steps) for layer in chosen), "residual": 1, "lsuv": 0}[
        method
    ]
    free = draw_orthogonal(module, chosen, generator, depth=depth)
    if method == "residual":
        branches = shrink_branches(module, chosen)
        free = {weight: std for weight, std in free.items() if weight not in branches}
    fit(module, inputs, free)


def _chosen(module: nn.Module, found: list[Layer], only: Sequence[str] | None) -> list[Layer]:
    """The layers whose weights are to be drawn."""
    parameters = dict(module.named_parameters())
    unknown = [name for name in only or () if name not in {layer.weight for layer in found}]
    if unknown:
        known = ", ".join(layer.weight for layer in found)
        raise UsageError(f"no product uses a weight {unknown[0]!r}; those that are used: {known:.300}")
    chosen = [
        layer
        for layer in found
        if (only is None or layer.weight in only)
        and parameters[layer.weight].requires_grad
        and bool(parameters[layer.weight].count_nonzero())
    ]
    if not chosen:
        raise UsageError(
            f"{type(module).__name__} has nothing to initialise: it multiplies its inputs with no trainable "
            "weight of its own (one that a parametrization computes has to be drawn before that is registered)"
        )
    return chosen


def _require_values(module: nn.Module, inputs: Inputs) -> None:
    for name, tensor in (*module.named_parameters(), *module.named_buffers(), *inputs.named_tensors()):
        if not nn.parameter.is_lazy(tensor) and tensor.is_meta:
            raise UsageError(
                f"{name} is on the meta device, without values: use module.to_empty(device='cpu') first"
            )
    for name, tensor in inputs.named_tensors():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise UsageError(f"{name} holds numbers that are not finite: no weights can be fitted to them")
    if any(nn.parameter.is_lazy(parameter) for parameter in module.parameters()):
        raise UsageError(
            f"{type(module).__name__} is lazy, its weights have no shape yet: call it once, then this"
        )


def _require_finite(module: nn.Module, inputs: Inputs) -> None:
    with preserved(seed=0):
        outputs = [*tree.tensors(inputs.call(module))]
    if not all(bool(output.isfinite().all()) for output in outputs):
        raise UsageError(
            f"the output of {type(module).__name__} is not finite with the new weights either: "
            "the cause is elsewhere, in an operation or a constant"
        )
