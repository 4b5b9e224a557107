"""The linear layer: y = x W^T + b, initialised for the activation that follows."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from layersmith.probe.inputs import Inputs
from layersmith.promises import contract, contract_of
from layersmith.subject import Subject


@contract(affine=True, shape="... i -> ... o")
class Linear(nn.Module):
    """The affine map x W^T + b of the last dimension; its function is `torch.nn.functional.linear`.

    It differs from torch.nn.Linear, whose state dict it can load, in how it starts: weights are drawn from
    N(0, gain^2 / in_features) and the bias is zero (He et al. 2015), where torch draws both from
    U(-1/sqrt(in_features), 1/sqrt(in_features)), which takes two thirds of the variance away.

    Args:
        in_features: size of the last dimension of the input.
        out_features: size of the last dimension of the output.
        bias: whether there is a bias b.
        gain: the gain of the activation that follows, such as `layersmith.gain(nn.ReLU())`; 1 if none does.
        device: of the parameters.
        dtype: of the parameters.

    Shape:
        [*, in_features] to [*, out_features], for any leading dimensions.

    Example:
        >>> import torch
        >>> from layersmith.nn import Linear
        >>> Linear(10, 5)(torch.randn(32, 10)).shape
        torch.Size([32, 5])
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,  # noqa: FBT001, FBT002 - torch's order
        *,
        gain: float = 1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.gain = gain
        self.weight = nn.Parameter(torch.empty(out_features, in_features, device=device, dtype=dtype))
        self.register_parameter("bias", None)
        if bias:
            self.bias = nn.Parameter(torch.empty(out_features, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights of std gain / sqrt(in_features) from torch's global generator; zero the bias."""
        nn.init.normal_(self.weight, std=self.gain / math.sqrt(max(self.in_features, 1)))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Float[Tensor, "*batch in_features"]) -> Float[Tensor, "*batch out_features"]:
        """See the class."""
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """What the constructor was given."""
        sizes = f"in_features={self.in_features}, out_features={self.out_features}"
        return f"{sizes}, bias={self.bias is not None}" + (
            f", gain={self.gain:.4g}" if self.gain != 1.0 else ""
        )


def example() -> Subject:
    """A linear layer on a batch of rows."""
    return Subject(
        "Linear", lambda _: Linear(6, 3), lambda _: Inputs((torch.randn(4, 6),)), contract=contract_of(Linear)
    )
