"""What a module keeps without nn.Module knowing: tensors and submodules in plain attributes, lists, dicts."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

OWN = frozenset(vars(nn.Module())) | {"_flat_weights", "_flat_weight_refs"}
DEPTH = 3  # of containers and plain objects below an attribute


@dataclass(frozen=True, slots=True)
class Hidden:
    """One tensor or submodule that nn.Module does not know of."""

    owner: nn.Module
    attribute: str  # of the owner
    path: str  # from the root module: "block.scales[0]"
    container: str  # "list", "dict", "tuple", ...; "" for a plain attribute
    value: Tensor | nn.Module

    @property
    def owner_class(self) -> type:
        """The class of the owner, whose source sets the attribute."""
        return type(self.owner)


def hidden(root: nn.Module) -> Iterator[Hidden]:
    """Every tensor and submodule reachable through attributes but registered nowhere in the tree."""
    known = {id(part) for part in (*root.modules(), *root.parameters(), *root.buffers())}
    for prefix, owner in root.named_modules():
        for attribute, value in [*vars(owner).items()]:
            if attribute in OWN or _is_computed(owner, attribute):
                continue
            path = f"{prefix}.{attribute}" if prefix else attribute
            for where, container, found in _search(value, path, "", DEPTH):
                if id(found) not in known:
                    known.add(id(found))
                    yield Hidden(owner, attribute, where, container, found)


def _search(
    value: object, path: str, container: str, depth: int
) -> Iterator[tuple[str, str, Tensor | nn.Module]]:
    if isinstance(value, Tensor | nn.Module):
        yield path, container, value
    elif depth == 0 or isinstance(value, type | types.ModuleType | torch.Size):
        return
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _search(item, f"{path}[{key!r}]", "dict", depth - 1)
    elif isinstance(value, list | tuple | set | frozenset):
        for index, item in enumerate(value):
            yield from _search(item, f"{path}[{index}]", type(value).__name__, depth - 1)


def _is_computed(owner: nn.Module, attribute: str) -> bool:
    """Whether a hook computes it from registered parameters, as the old weight_norm and spectral_norm do."""
    return any(name.startswith(f"{attribute}_") for name in owner._parameters)  # noqa: SLF001 - no public way
