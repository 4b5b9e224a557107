"""Defaults that stand for nothing: a model with `depths=[0, 0, 0, 0]` is not meant to be built so."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping

from layersmith.load.constructor.names import integers

_OF_LAYERS = re.compile(
    r"depth|dim|embed|heads|blocks|layers|channels|ratio|width"
)  # no paddings, no offsets


def filled(parameters: Mapping[str, inspect.Parameter]) -> dict[str, list[int]]:
    """Numbers by name for every list of zeros, as many as there are."""
    zeros = {
        name: len(one.default)
        for name, one in parameters.items()
        if isinstance(one.default, list | tuple) and len(one.default) > 1 and not any(one.default)
    }
    return {
        name: [integers(name.rstrip("s"))[0]] * count
        for name, count in zeros.items()
        if _OF_LAYERS.search(name)
    }
