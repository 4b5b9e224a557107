"""Layers made right: each file holds a function, a module and an example of its use."""

from layersmith.nn.feed_forward import FeedForward, feed_forward
from layersmith.nn.linear import Linear
from layersmith.nn.scaled_relu import ScaledReLU, scaled_relu

__all__ = ["FeedForward", "Linear", "ScaledReLU", "feed_forward", "scaled_relu"]
