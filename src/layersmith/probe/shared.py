"""Parameters that several members of a module, or all instances of its class, hold at once."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Iterator

from torch import nn

from layersmith.probe import source

NORM = re.compile(r"norm", re.IGNORECASE)
SEVERAL = 3  # members: two may be a pair on purpose


def members(part: nn.Module) -> list[list[str]]:
    """The names of direct members that hold exactly the same parameters."""
    groups: dict[tuple[int, ...], list[str]] = {}
    for name, parameter in part._parameters.items():  # noqa: SLF001 - named_parameters leaves out repetitions
        if parameter is not None:
            groups.setdefault((id(parameter),), []).append(name)
    for name, child in part._modules.items():  # noqa: SLF001 - as above
        held = (
            tuple(sorted(id(p) for p in child.parameters() if p.requires_grad)) if child is not None else ()
        )
        groups.setdefault(held, []).append(name)
    return [names for held, names in groups.items() if held and len(names) > 1]


def norm(part: nn.Module) -> list[str]:
    """Where three or more members of a container, each with layers of its own, hold one and the same normalisation."""
    places: dict[int, list[str]] = {}
    for name, member in part.named_children():
        for inner, child in member.named_children():
            if NORM.search(type(child).__name__) and _learns(child):
                places.setdefault(id(child), []).append(f"{name}.{inner}")
    return next((names for names in places.values() if len(names) >= SEVERAL), [])


def defaults(module: nn.Module, given: Collection[str]) -> Iterator[tuple[str, nn.Module]]:
    """Modules with parameters that are defaults of the class's own constructor, by argument, less those given."""
    cls: type = type(module)
    if "__init__" not in vars(cls) or source.is_torchs(cls.__module__):
        return
    used = {type(part) for part in nn.Module.modules(module)}
    for name, argument in inspect.signature(vars(cls)["__init__"]).parameters.items():
        value = argument.default
        if isinstance(value, nn.Module) and type(value) in used and name not in given and _learns(value):
            yield name, value


def _learns(module: nn.Module) -> bool:
    return any(True for _ in module.parameters())


def shallow_copies(part: nn.Module) -> list[list[str]]:
    """The names of direct members that are other objects with the very same parameters, as `copy.copy` leaves them."""
    groups: dict[tuple[int, int], dict[int, str]] = {}
    for name, child in part.named_children():
        if any(True for _ in child.parameters()):
            own = groups.setdefault((id(child._parameters), id(child._modules)), {})  # noqa: SLF001 - the dictionaries
            own[id(child)] = name
    return [[*names.values()] for names in groups.values() if len(names) > 1]
