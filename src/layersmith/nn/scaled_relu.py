"""Scaled ReLU: scale * max(x, 0)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from layersmith.probe.inputs import Inputs
from layersmith.promises import contract, contract_of
from layersmith.subject import Subject


def scaled_relu(x: Float[Tensor, "*shape"], scale: float = 1.0) -> Float[Tensor, "*shape"]:
    """The elementwise function scale * max(x, 0).

    Example:
        >>> import torch
        >>> from layersmith.nn import scaled_relu
        >>> scaled_relu(torch.tensor([-1.0, 0.0, 3.0]), 0.5)
        tensor([0.0000, 0.0000, 1.5000])
    """
    # ReLU keeps its output for backward, and the next layer keeps its input: let that be one tensor.
    return F.relu(x * scale) if scale > 0 else F.relu(x) * scale


@contract(homogeneous=1)
class ScaledReLU(nn.Module):
    """The elementwise function scale * max(x, 0); like any constant factor, the gain of the layers undoes it.

    Args:
        scale: a number, not learnt.

    Shape:
        any, to the same.

    Example:
        >>> import torch
        >>> from layersmith.nn import ScaledReLU
        >>> ScaledReLU(scale=0.5)(torch.tensor([-1.0, 0.0, 3.0]))
        tensor([0.0000, 0.0000, 1.5000])
    """

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """See `scaled_relu`."""
        return scaled_relu(x, self.scale)

    def extra_repr(self) -> str:
        """What the constructor was given."""
        return f"scale={self.scale}"


def example() -> Subject:
    """A scaled ReLU of a batch of rows."""
    return Subject(
        "ScaledReLU",
        lambda _: ScaledReLU(scale=0.5),
        lambda _: Inputs((torch.randn(4, 6),)),
        contract=contract_of(ScaledReLU),
    )
