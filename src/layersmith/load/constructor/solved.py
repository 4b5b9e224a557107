"""Constructor arguments of a module that is built already: values that build one of the same shapes."""

from __future__ import annotations

import inspect
import itertools
from typing import Any

import torch
from torch import nn

from layersmith.load.attempt import Deadline, contained
from layersmith.load.constructor.search import construct
from layersmith.load.constructor.usage import constructor

_PLAIN = (int, float, str, bool, type(None), torch.dtype)
_SECONDS = 1.0
_TRIES = 80
_CHOICES = 8
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def solved(module: nn.Module) -> dict[str, Any] | None:
    """Arguments that build a module whose state has the same names and shapes; None if none were found.

    Attributes that bear a parameter's name have its value; what is left is tried from the sizes in the module.
    """
    parameters = dict(list(inspect.signature(constructor(type(module))).parameters.items())[1:])
    parameters = {name: p for name, p in parameters.items() if p.kind not in _VARIADIC}
    kept = {name: vars(module)[name] for name in parameters if _is_plain(vars(module).get(name, module))}
    missing = [name for name, p in parameters.items() if p.default is p.empty and name not in kept]
    wanted, deadline = _shapes(module), Deadline.after(_SECONDS)
    if missing and not wanted:
        return None
    choices = [_choices(module)] * len(missing)
    for values in itertools.islice(itertools.product(*choices), _TRIES):
        arguments = {**kept, **dict(zip(missing, values, strict=True))}
        arguments = {name: arguments[name] for name in parameters if name in arguments}
        if _shapes_of_built(type(module), arguments, deadline) == wanted:
            return arguments
        if deadline.is_over:
            break
    return None


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)


def _choices(module: nn.Module) -> list[int]:
    """Sizes of the state's dimensions, in the order in which they appear, inputs before outputs."""
    sizes = [size for tensor in module.state_dict().values() for size in reversed(tensor.shape[:2])]
    held = [value for value in vars(module).values() if type(value) is int]
    return list(dict.fromkeys([*sizes, *held]))[:_CHOICES]


def _shapes(module: nn.Module) -> list[tuple[str, tuple[int, ...]]]:
    return [(name, tuple(tensor.shape)) for name, tensor in module.state_dict().items()]


def _shapes_of_built(cls: type[nn.Module], arguments: dict[str, Any], deadline: Deadline) -> Any:
    try:
        with contained(deadline):
            return _shapes(construct(cls, arguments))
    except Exception:  # noqa: BLE001 - other values may do
        return None
