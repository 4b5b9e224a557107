"""What tells whether a class is still the one that a lock file speaks of: its signatures, its source."""

from __future__ import annotations

import ast
import hashlib
import inspect
from typing import Any

from torch import nn

from layersmith.load.constructor.usage import constructor
from layersmith.probe import source

_PLAIN = (int, float, complex, str, bool, bytes, type(None))


def signature(cls: type[nn.Module]) -> str:
    """How the class is built and called: `(dim, heads=8)(x, mask=None)`; "" where Python cannot tell."""
    return "".join(map(_parameters, (constructor(cls), source.forward(cls))))


def digest(cls: type) -> str:
    """A number that changes with the class's code, not with its place, its comments or its layout."""
    node = source.class_node(cls)
    return hashlib.sha256(ast.dump(node).encode()).hexdigest()[:12] if node is not None else ""


def _parameters(function: Any) -> str:
    try:
        parameters = [*inspect.signature(function).parameters.values()][1:]
    except (TypeError, ValueError):
        return ""
    plain = [one.replace(annotation=one.empty, default=_default(one.default)) for one in parameters]
    return str(inspect.Signature(plain))


def _default(value: Any) -> Any:
    """The default where its text is always the same."""
    is_plain = isinstance(value, _PLAIN) or value is inspect.Parameter.empty
    if isinstance(value, tuple | list) and all(isinstance(item, _PLAIN) for item in value):
        return value
    return value if is_plain else ...
