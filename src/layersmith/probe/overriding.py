"""Names of nn.Module that a class or an instance takes for something else."""

from __future__ import annotations

import ast
import contextlib
import copy
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from layersmith.probe import source

# How torch, optimisers and trainers call the methods of any module.
CALLS: dict[str, list[tuple[tuple[Any, ...], dict[str, Any]]]] = {
    "train": [((), {}), ((False,), {})],
    "eval": [((), {})],
    "parameters": [((), {})],
    "named_parameters": [((), {})],
    "buffers": [((), {})],
    "named_buffers": [((), {})],
    "modules": [((), {})],
    "named_modules": [((), {})],
    "children": [((), {})],
    "named_children": [((), {})],
    "to": [(("cpu",), {}), ((None, None), {})],
    "type": [((None,), {})],
    "float": [((), {})],
    "double": [((), {})],
    "half": [((), {})],
    "bfloat16": [((), {})],
    "cpu": [((), {})],
    "cuda": [((), {}), ((0,), {})],
    "apply": [((None,), {})],
    "state_dict": [((), {})],
    "load_state_dict": [((None,), {})],
    "zero_grad": [((), {})],
    "requires_grad_": [((), {}), ((False,), {})],
    "register_buffer": [(("name", None), {})],
    "register_parameter": [(("name", None), {})],
    "add_module": [(("name", None), {})],
    "extra_repr": [((), {})],
}


@dataclass(frozen=True, slots=True)
class Taken:
    """A name of nn.Module that means something else here."""

    name: str
    path: str  # of the submodule
    owner: type
    signature: str = ""  # of a method that cannot be called as nn.Module's; "" for an attribute
    value: Any = None
    made: str = ""  # the class of the value, where only the source is known
    is_found: bool = True  # what is registered under a method's name is not: its name gives the method


def taken(root: nn.Module) -> Iterator[Taken]:
    """Methods that cannot be called as nn.Module's, and attributes in the place of methods; torch's classes left out."""
    for path, part in nn.Module.named_modules(root):
        if not source.is_torchs(type(part).__module__):
            yield from methods(type(part), path)
            yield from _attributes(part, path)
            yield from _visitor(part, path)


def methods(cls: type, path: str = "") -> Iterator[Taken]:
    """The methods of a class, or of a base of it that is not torch's, that refuse an ordinary call."""
    for name, calls in CALLS.items():
        owner = next(base for base in cls.__mro__ if name in vars(base))
        member = vars(owner)[name]
        if owner is nn.Module or source.is_torchs(owner.__module__):
            continue
        if isinstance(member, property) or not callable(member):
            if not isinstance(member, staticmethod | classmethod):
                yield Taken(name, path, owner, "", member)
        elif not all(_accepts(member, args, kwargs) for args, kwargs in calls):
            arguments = ", ".join(inspect.signature(member).parameters)
            yield Taken(name, path, owner, f"{name}({arguments})")


def registered(cls: type) -> Iterator[Taken]:
    """What the source of a class registers under the name of a method: `self.modules = nn.ModuleList(layers)`."""
    for method in source.methods(cls):
        for part in ast.walk(method):
            call = part.value if isinstance(part, ast.Assign) else None
            if not isinstance(part, ast.Assign) or not isinstance(call, ast.Call):
                continue
            made = ast.unparse(call.func).rpartition(".")[2]
            kind = getattr(nn, made, None)
            is_module = isinstance(kind, type) and issubclass(kind, nn.Module | nn.Parameter)
            for target in part.targets:
                is_own = isinstance(target, ast.Attribute) and getattr(target.value, "id", "") == "self"
                if is_own and is_module and isinstance(target, ast.Attribute) and target.attr in CALLS:
                    yield Taken(target.attr, "", cls, made=made, is_found=False)


def _attributes(part: nn.Module, path: str) -> Iterator[Taken]:
    held = {**vars(part), **part._modules, **part._parameters, **part._buffers}  # noqa: SLF001 - where they are kept
    for name, value in held.items():
        if name in CALLS and (isinstance(value, nn.Module) or not callable(value)):
            yield Taken(name, path, type(part), "", value, is_found=getattr(part, name, None) is value)
    if not isinstance(vars(part).get("training", True), bool):
        yield Taken("training", path, type(part), "", part.training)


def _visitor(part: nn.Module, path: str) -> Iterator[Taken]:
    """An `apply` of that many arguments which hands the module itself to no function: it does something else."""
    owner = next(base for base in type(part).__mro__ if "apply" in vars(base))
    member = vars(owner)["apply"]
    if owner is nn.Module or source.is_torchs(owner.__module__) or not _accepts(member, (None,), {}):
        return
    seen: list[nn.Module] = []
    with contextlib.suppress(Exception):  # what it makes of a function in the place of its argument
        copy.deepcopy(part).apply(seen.append)
    if not seen:
        arguments = ", ".join(inspect.signature(member).parameters)
        yield Taken("apply", path, owner, f"apply({arguments})")


def _accepts(member: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    try:
        inspect.signature(member).bind(None, *args, **kwargs)
    except TypeError:
        return False
    except ValueError:
        return True
    return True
