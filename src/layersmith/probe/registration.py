"""What a module keeps without nn.Module knowing: tensors and submodules in attributes, containers, functions."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

OWN = frozenset(vars(nn.Module())) | {"_flat_weights", "_flat_weight_refs"}
DEPTH = 4  # of containers, functions and plain objects below an attribute
PLAIN = (str, bytes, int, float, complex, type(None), type, types.ModuleType, torch.Size)


@dataclass(frozen=True, slots=True)
class Hidden:
    """One tensor or submodule that nn.Module does not know of."""

    owner: nn.Module
    attribute: str  # of the owner
    path: str  # from the root module: "block.scales[0]"
    container: str  # "list", "dict", "tuple", "function", "Config", ...; "" for a plain attribute
    value: Tensor | nn.Module

    @property
    def owner_class(self) -> type:
        """The class of the owner, whose source sets the attribute."""
        return type(self.owner)


def hidden(root: nn.Module) -> Iterator[Hidden]:
    """Every tensor and submodule reachable through attributes but registered nowhere in the tree."""
    known = {id(part) for part in (*nn.Module.modules(root), *root.parameters(), *root.buffers())}
    for prefix, owner in root.named_modules():
        for attribute, value in [*_of_class(type(owner)).items(), *vars(owner).items()]:
            if attribute in OWN or _is_computed(owner, attribute):
                continue
            path = f"{prefix}.{attribute}" if prefix else attribute
            for where, container, found in _search(value, path, "", DEPTH, set()):
                is_self = container == "function" and type(found) is type(
                    owner
                )  # closed over: a rule of its own
                if id(found) not in known and not is_self:
                    known.add(id(found))
                    yield Hidden(owner, attribute, where, container, found)


def _of_class(cls: type) -> dict[str, object]:
    """The modules and tensors that are attributes of a class, or of a base of it that is not torch's."""
    bases = [base for base in reversed(cls.__mro__) if not _is_from_torch(base)]
    return {
        name: value
        for base in bases
        for name, value in vars(base).items()
        if isinstance(value, Tensor | nn.Module)
    }


def _search(
    value: object, path: str, container: str, depth: int, seen: set[int]
) -> Iterator[tuple[str, str, Tensor | nn.Module]]:
    if isinstance(value, Tensor | nn.Module):
        yield path, container, value
    elif depth > 0 and not isinstance(value, PLAIN) and id(value) not in seen:
        seen.add(id(value))
        kind = container if _is_container(container) else _kind(value)
        for step, item in _held(value):
            yield from _search(item, f"{path}{step}", kind, depth - 1, seen)


def _held(value: object) -> list[tuple[str, object]]:
    """What a container, a function or a plain object holds, each with the step to it."""
    if isinstance(value, Mapping):
        return [(f"[{key!r}]", item) for key, item in value.items()]
    if isinstance(value, list | tuple | set | frozenset):
        return [(f"[{index}]", item) for index, item in enumerate(value)]
    if isinstance(value, functools.partial):
        return [
            (f"({i})", item) for i, item in enumerate((value.func, *value.args, *value.keywords.values()))
        ]
    if isinstance(value, types.FunctionType | types.MethodType):
        return enclosed(value)
    return (
        []
        if _is_from_torch(type(value))
        else [(f".{name}", item) for name, item in getattr(value, "__dict__", {}).items()]
    )


def enclosed(function: object) -> list[tuple[str, object]]:
    """What a method is bound to, or the variables that a lambda or local function closes over; one may still be unset."""
    if isinstance(function, types.MethodType):
        return [(".__self__", function.__self__)]
    if not isinstance(function, types.FunctionType):
        return []
    found = []
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found.append((f"<{name}>", cell.cell_contents))
        except ValueError:
            continue
    return found


def _kind(value: object) -> str:
    if isinstance(value, functools.partial | types.MethodType | types.FunctionType):
        return "function"
    return next(
        (base.__name__ for base in (dict, list, tuple, set) if isinstance(value, base)), type(value).__name__
    )


def _is_container(name: str) -> bool:
    return name in {"dict", "list", "tuple", "set", "frozenset"}


def _is_from_torch(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == "torch"


def _is_computed(owner: nn.Module, attribute: str) -> bool:
    """Whether a hook computes it from registered parameters, as the old weight_norm and spectral_norm do."""
    return any(name.startswith(f"{attribute}_") for name in owner._parameters)  # noqa: SLF001 - no public way
