"""Two examples above one another, where any number of leading axes is welcome: what backward makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from layersmith.probe import arguments, tree
from layersmith.probe.closeness import Gap
from layersmith.probe.gradients import layouts
from layersmith.probe.gradients.cotangent import pull_back
from layersmith.probe.inputs import Inputs
from layersmith.probe.passes import Pass, apart
from layersmith.probe.surroundings import preserved


def in_backward(
    fresh: Callable[[], nn.Module], inputs: Inputs, leading: Iterable[Tensor], *, seed: int
) -> Gap | Exception | None:
    """How the gradients of two examples are not the sum of those of each; what backward raises, if it does.

    Args:
        fresh: makes the module, which takes its inputs with one axis more in front.
        inputs: one example.
        leading: those of them that get the axis.
        seed: of what the module draws, and of the gradient of its output.
    """
    module = fresh()
    outputs = [*tree.tensors(inputs.clone().call(module))]
    if len(outputs) != 1 or not any(x.requires_grad for x in module.parameters()):
        return None
    above = arguments.replaced(inputs, {id(x): torch.stack([x.detach()] * 2) for x in leading})
    along = torch.randn((2, *outputs[0].shape), generator=torch.Generator().manual_seed(seed))
    try:
        expected = _gradients(fresh(), inputs, along.sum(0), seed)
    except Exception:  # noqa: BLE001 - not a matter of the axis
        return None
    try:
        got = _gradients(fresh(), above, layouts.scattered(along), seed)
    except Exception as error:  # noqa: BLE001 - the answer
        return error
    return apart(Pass(None, expected), Pass(None, got))


def _gradients(module: nn.Module, inputs: Inputs, along: Tensor, seed: int) -> dict[str, Tensor | None]:
    """Of the parameters, for one gradient of the output."""
    named = {name: x for name, x in module.named_parameters() if x.requires_grad}
    with preserved(seed=seed), torch.enable_grad():
        (output,) = tree.tensors(inputs.clone().call(module))
        found = pull_back([output], [along.to(output.dtype)], [*named.values()])
        return {
            name: one.to_dense() if one is not None and one.is_sparse else one
            for name, one in zip(named, found, strict=True)
        }
