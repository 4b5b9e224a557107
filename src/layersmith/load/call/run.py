"""One call of a module with described arguments, and whether its output is of use."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import torch
from torch import Tensor

from layersmith.load.attempt import Deadline, OutOfBudget, contained
from layersmith.load.call.callee import Callee, State
from layersmith.load.values import Call
from layersmith.probe import closeness, tree
from layersmith.probe.modes import heeds_mode, in_mode
from layersmith.probe.template import copied

_NEEDS_GRADIENTS = (
    re.compile(  # a derivative of its own output is part of the output, or a hook looks at gradients
        r"does not require grad and does not have a grad_fn|hook on a tensor that doesn't require gradient|"
        r"retain_grad on Tensor that has requires_grad=False"
    )
)


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
    """What the module returns, in eval mode and without gradients, but where it needs them itself."""
    call = call_of(callee, state)
    try:
        with contained(deadline), torch.no_grad():
            return call.make(0).call(callee.module)
    except Exception as error:
        is_compiled = type(error).__module__.startswith("torch._dynamo")
        needs_gradients = _NEEDS_GRADIENTS.search(str(error)) is not None
        if not (is_compiled or needs_gradients):
            raise
    with (
        contained(deadline, is_counted=not is_compiled),  # a compiled part doesn't bear the budget's mode
        torch.set_grad_enabled(needs_gradients),
    ):
        return call.make(0).call(callee.module)


def trains(callee: Callee, state: State, deadline: Deadline) -> bool:
    """Whether train mode takes the call as well; a module that cannot be copied is not asked."""
    if not heeds_mode(callee.module):
        return True
    try:
        module = in_mode(copied(callee.module), training=True)
    except Exception:  # noqa: BLE001 - not-copyable speaks of it
        return True
    try:
        with contained(deadline), torch.no_grad():
            call_of(callee, state).make(0).call(module)
    except OutOfBudget:
        return True
    except Exception:  # noqa: BLE001 - whatever the user's forward raises
        return False
    return True


def is_useful(output: Any) -> bool:
    """Whether there is a tensor anywhere in the output."""
    if isinstance(output, Tensor):
        return True
    if next(tree.tensors(output), None) is not None:
        return True
    is_plain = dataclasses.is_dataclass(output) or not hasattr(output, "__dict__")
    return not is_plain and any(isinstance(value, Tensor) for value in vars(output).values())


def is_blank(output: Any) -> bool:
    """Whether the first tensor of the output is zero throughout, but for rounding."""
    first = next(tree.tensors(output), None)
    is_number = first is not None and tree.is_differentiable(first) and first.numel() > 1
    return is_number and first is not None and bool((first.abs() < closeness.NOTHING).all())


def rows_are_apart(callee: Callee, state: State, deadline: Deadline) -> bool:
    """Whether the first output's other rows stay as they are when the first row of the inputs changes."""
    with contained(deadline), torch.no_grad():
        inputs = call_of(callee, state).make(0)
        before = inputs.call(callee.module)
    with contained(deadline), torch.no_grad():
        after = inputs.map(_first_row_changed).call(callee.module)
    first, second = next(tree.tensors(before), None), next(tree.tensors(after), None)
    if first is None or second is None or first.shape != second.shape or not first.dim():
        return True
    return not closeness.gap(first[1:], second[1:]).is_open


def _first_row_changed(tensor: Tensor) -> Tensor:
    changed = tensor.clone()
    if tensor.is_floating_point() and tensor.dim():
        changed[0] = -changed[0] + 1
    return changed
