"""The tutorial's model again, with Layersmith's layers: the same three lines of forward, a sound start.

layersmith check examples/mended.py
layersmith train examples/mended.py
"""

from jaxtyping import Float
from torch import Tensor, nn

import layersmith
from layersmith.nn import Linear, ScaledReLU


class MendedModel(nn.Module):
    """Two linear layers with a scaled ReLU between them; `FeedForward` is the same for any depth."""

    def __init__(self, input_size: int, hidden_size: int, output_size: int) -> None:
        super().__init__()
        self.activation = ScaledReLU(scale=0.5)
        # The gain of the activation that follows: 2.83, since it halves and cuts off what it gets.
        self.layer1 = Linear(input_size, hidden_size, gain=layersmith.gain(self.activation))
        self.layer2 = Linear(hidden_size, output_size)

    def forward(self, x: Float[Tensor, "*batch input_size"]) -> Float[Tensor, "*batch output_size"]:
        """See the class."""
        output: Tensor = self.layer2(self.activation(self.layer1(x)))
        return output
