"""One call of a module with described arguments, and whether its output is of use."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from layersmith.load.attempt import Deadline, contained
from layersmith.load.call.start import Callee, State
from layersmith.load.values import Call
from layersmith.probe import tree


def call_of(callee: Callee, state: State) -> Call:
    """The state as a call: required arguments by position, the others by name."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for name, parameter in callee.parameters.items():
        if name not in state:
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            args += state[name]
        elif parameter.kind is parameter.KEYWORD_ONLY or parameter.default is not parameter.empty or kwargs:
            kwargs[name] = state[name]
        else:
            args.append(state[name])
    if not args and list(state) == list(callee.parameters)[:1]:
        return Call(tuple(kwargs.values()))
    return Call(tuple(args), kwargs)


def output_of(callee: Callee, state: State, deadline: Deadline) -> Any:
    """What the module returns, in eval mode and without gradients."""
    with contained(deadline), torch.no_grad():
        return call_of(callee, state).make(0).call(callee.module)


def is_useful(output: Any) -> bool:
    """Whether there is a tensor anywhere in the output."""
    if isinstance(output, Tensor):
        return True
    if next(tree.tensors(output), None) is not None:
        return True
    is_plain = dataclasses.is_dataclass(output) or not hasattr(output, "__dict__")
    return not is_plain and any(isinstance(value, Tensor) for value in vars(output).values())


def is_finite(output: Any) -> bool:
    """Whether no floating tensor of the output holds a NaN or an infinity."""
    floats = (tensor for tensor in tree.tensors(output) if tree.is_differentiable(tensor))
    return all(bool(tensor.isfinite().all()) for tensor in floats)
