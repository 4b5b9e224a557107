"""Values that follow from what an argument stands for: places in a list, and defaults that nobody builds a model with."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

from layersmith.load.constructor.names import integers
from layersmith.load.constructor.trace import Usage

_OF_LAYERS = re.compile(r"depth|dims?$|embed|heads|blocks|layers|channels")
_OTHER = re.compile(r"ratio|rate|drop|pad|offset")


def filled(parameters: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    """Numbers by name for every list of zeros, `depths=[0, 0, 0, 0]`, as many as there are."""
    zeros = {name: one.default for name, one in parameters.items() if _is_zeros(one.default)}
    return {
        name: type(value)([integers(name.rstrip("s"))[0]] * len(value))
        for name, value in zeros.items()
        if _OF_LAYERS.search(name) and not _OTHER.search(name)
    }


def _is_zeros(value: Any) -> bool:
    is_list = type(value) in (list, tuple) and len(value) > 1
    return is_list and all(type(one) is int and not one for one in value)


def places(chosen: Mapping[str, Usage]) -> dict[str, int]:
    """Another place in a list for each argument that picks one, `channels[level]`; none for one that counts, too."""
    picking = [name for name, usage in chosen.items() if "index" in usage.kinds]
    plain = [name for name in picking if "number" not in chosen[name].kinds and not chosen[name].passed_as]
    return {name: place for place, name in enumerate(picking if len(picking) > 1 else plain)}
