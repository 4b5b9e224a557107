"""A copy of any value that shares no tensor with it: also of caches, batches of graphs, outputs of tokenizers."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

from layersmith.probe import tree

_DEEPEST = 5
_ATOMS = (int, float, str, bool, bytes, complex, type(None))


def snapshot(value: Any) -> Any:
    """A copy with every tensor in it cloned; modules, classes and functions are kept as they are.

    Objects that hold tensors in attributes are copied with them: a cache that forward appends to is left alone.
    """
    return _copied(value, {}, 0)


def _copied(value: Any, memo: dict[int, Any], depth: int) -> Any:
    if isinstance(value, (*_ATOMS, type, nn.Module)) or depth > _DEEPEST or callable(value):
        return value
    if id(value) not in memo:
        memo[id(value)] = _copy_of(value, memo, depth + 1)
    return memo[id(value)]


def _copy_of(value: Any, memo: dict[int, Any], depth: int) -> Any:
    if isinstance(value, Tensor):
        return tree.clone(value)
    if isinstance(value, tuple):
        items = [_copied(item, memo, depth) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    if isinstance(value, list):
        items = copy.copy(value)
        items[:] = [_copied(item, memo, depth) for item in value]
        return items
    if isinstance(value, dict):
        named = copy.copy(value)
        named.update({key: _copied(item, memo, depth) for key, item in value.items()})
        return named
    return _object(value, memo, depth)


def _object(value: Any, memo: dict[int, Any], depth: int) -> Any:
    held = getattr(value, "__dict__", None)
    if not held:
        return value
    try:
        twin = copy.copy(value)
        twin.__dict__.update({name: _copied(item, memo, depth) for name, item in held.items()})
    except Exception:  # noqa: BLE001 - an object that refuses to be copied is handed on as it is
        return value
    return twin
