"""The feed-forward network: linear layers with an activation after each but the last."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from layersmith.nn.initialization import balance_
from layersmith.nn.linear import Linear
from layersmith.nn.scaled_relu import ScaledReLU
from layersmith.probe.inputs import Inputs
from layersmith.subject import Subject


def feed_forward(
    x: Float[Tensor, "*batch input_size"],
    weights: Sequence[Tensor],
    biases: Sequence[Tensor | None],
    activation: Callable[[Tensor], Tensor],
) -> Float[Tensor, "*batch output_size"]:
    """Linear layers with these weights [out, in] and biases [out]; the activation follows each but the last.

    Example:
        >>> import torch
        >>> from layersmith.nn import feed_forward
        >>> weights, biases = [torch.eye(2), torch.ones(1, 2)], [None, torch.tensor([0.5])]
        >>> feed_forward(torch.tensor([-1.0, 3.0]), weights, biases, torch.relu)
        tensor([3.5000])
    """
    *hidden, output = zip(weights, biases, strict=True)
    for weight, bias in hidden:
        x = activation(F.linear(x, weight, bias))
    return F.linear(x, *output)


class FeedForward(nn.Module):
    """Hidden layers of the given sizes with an activation after each, then a linear output layer.

    The layers start so that signal and gradient keep their size through any number of hidden layers of one
    size, and whatever the activation: see `layersmith.nn.initialization`.

    Args:
        input_size: size of the last dimension of the input.
        hidden_size: of the one hidden layer, or of each hidden layer in turn; there may be none.
        output_size: size of the last dimension of the output.
        activation: an elementwise module, copied for each hidden layer; ScaledReLU() by default.
        device: of the parameters.
        dtype: of the parameters.

    Shape:
        [*, input_size] to [*, output_size], for any leading dimensions.

    Raises:
        UsageError: if the activation is not elementwise, or constant.

    Example:
        >>> import torch
        >>> from layersmith.nn import FeedForward
        >>> FeedForward(64, [128, 64], 10, nn.GELU())(torch.randn(32, 64)).shape
        torch.Size([32, 10])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int | Sequence[int],
        output_size: int,
        activation: nn.Module | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = (hidden_size,) if isinstance(hidden_size, int) else tuple(hidden_size)
        self.output_size = output_size
        activation = ScaledReLU() if activation is None else activation
        self.layers = nn.Sequential()
        for fan_in, fan_out in pairwise([input_size, *self.hidden_size]):
            self.layers.append(Linear(fan_in, fan_out, device=device, dtype=dtype))
            self.layers.append(copy.deepcopy(activation).to(device=device, dtype=dtype))
        fan_in = self.hidden_size[-1] if self.hidden_size else input_size
        self.layers.append(Linear(fan_in, output_size, device=device, dtype=dtype))
        self._balance()

    def reset_parameters(self) -> None:
        """Draw new weights from torch's global generator; an activation's own parameters are reset too."""
        for layer in self.layers:
            reset = getattr(layer, "reset_parameters", None)
            if callable(reset):
                reset()
        self._balance()

    def _balance(self) -> None:
        *hidden, _ = self.layers
        if hidden:
            balance_([layer for layer in hidden if isinstance(layer, Linear)], hidden[1])

    def forward(self, x: Float[Tensor, "*batch input_size"]) -> Float[Tensor, "*batch output_size"]:
        """See the class."""
        output: Tensor = self.layers(x)
        return output

    def extra_repr(self) -> str:
        """What the constructor was given."""
        return f"input_size={self.input_size}, hidden_size={self.hidden_size}, output_size={self.output_size}"


def example() -> Subject:
    """A network with two hidden layers on a batch of rows."""
    return Subject("FeedForward", lambda _: FeedForward(6, [8, 8], 3), lambda _: Inputs((torch.randn(4, 6),)))
