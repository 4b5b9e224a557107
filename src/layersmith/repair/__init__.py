"""Repair: new starting weights for a module, and the source that would draw them."""

from layersmith.repair.initialize import METHODS, initialize_

__all__ = ["METHODS", "initialize_"]
