"""What a constructor runs through its own layers, to see what they make of it: `self.convs(torch.zeros(1, 3, 9, 9))`."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

_shapes: dict[int, tuple[weakref.ref[nn.Module], tuple[int, ...]]] = {}  # by id: what is hashed is the user's


def watched(build: Callable[[], nn.Module]) -> nn.Module:
    """What it builds; the shape of the first tensor that a layer was given meanwhile is kept for `shape`."""
    seen: list[tuple[int, ...]] = []

    def see(_: nn.Module, given: Any) -> None:
        if isinstance(given, tuple) and given and isinstance(given[0], Tensor):
            seen.append(tuple(given[0].shape))

    handle = register_module_forward_pre_hook(see)
    try:
        module = build()
    finally:
        handle.remove()
    if seen and len(seen[0]) > 1 and seen[0][0] == 1:
        _shapes[id(module)] = weakref.ref(module), seen[0]
    return module


def shape(module: nn.Module) -> tuple[int, ...]:
    """Of what the constructor of this very module gave to a layer, a batch of one; () where it did not."""
    found = _shapes.get(id(module))
    return found[1] if found is not None and found[0]() is module else ()
