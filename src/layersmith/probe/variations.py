"""Other inputs of the same kind: what holds of all of them is no accident of one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from layersmith.probe import tree
from layersmith.probe.inputs import Inputs
from layersmith.probe.surroundings import preserved


def varied(inputs: Inputs) -> tuple[Inputs, ...]:
    """The inputs; mirrored; other normal numbers of the same mean and spread, and twice as wide."""
    generator = torch.Generator().manual_seed(0)

    def other(width: float) -> Callable[[Tensor], Tensor]:
        def drawn(tensor: Tensor) -> Tensor:
            if not tensor.is_floating_point() or tensor.numel() < 2:  # noqa: PLR2004 - a spread
                return tensor
            noise = torch.randn(tensor.shape, generator=generator).to(tensor.device, tensor.dtype)
            return tensor.detach().mean() + width * tensor.detach().std() * noise

        return drawn

    mirror = inputs.map(lambda tensor: -tensor.detach() if tensor.is_floating_point() else tensor)
    return inputs, mirror, inputs.map(other(1.0)), inputs.map(other(2.0))


def outputs(module: nn.Module, inputs: Inputs) -> Iterator[object]:
    """What the module returns for each variation that it accepts, with gradients enabled."""
    for index, one in enumerate(varied(inputs)):
        try:
            with preserved(seed=index), torch.enable_grad():
                output = one.call(module)
        except Exception:  # noqa: BLE001 - it may be made for positive numbers only
            if not index:
                return
            continue
        if all(bool(tensor.isfinite().all()) for tensor in tree.tensors(output)):
            yield output
