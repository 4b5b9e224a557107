"""Calls that go on where another ended: with the state, or the cache, that it gave back."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from layersmith.probe import tree
from layersmith.probe.inputs import Inputs

STATE = re.compile(r"state|hidden|cache|past|^h_?0?$|^hx$|^carry$")
ELSEWHERE = re.compile(r"encoder|context|cross|memory|hidden_states|mask")  # what comes from another module
ASKS = re.compile(r"^(?:use|return|output|with)_.*(?:state|hidden|cache|past|present|kv)")
COUNTS = re.compile(r"pos|offset|start|step|index|idx|length|mask")  # by which the caller says how far it is

Run = Callable[[Inputs], Any]


def argument(module: nn.Module, inputs: Inputs) -> str:
    """The optional argument of forward that takes a state, and was not given; "" if there is none."""
    free = [name for name, default in _free(module, inputs) if default is None]
    found = [name for name in free if STATE.search(name) and not ELSEWHERE.search(name)]
    return found[0] if len(found) == 1 else ""


def is_counted_by_caller(module: nn.Module) -> bool:
    """Whether an argument says at which step a call begins, or what it may see."""
    return any(COUNTS.search(name) for name in inspect.signature(module.forward).parameters)


def asking(module: nn.Module, inputs: Inputs) -> Inputs:
    """The call with every switch on that makes it give its state back."""
    flags = {name: True for name, default in _free(module, inputs) if default is False and ASKS.search(name)}
    return Inputs(inputs.args, {**inputs.kwargs, **flags})


def states(output: object) -> Iterator[Any]:
    """What of an output may be a state: the second of two parts, the last, or all but the first."""
    if isinstance(output, tuple | list) and len(output) > 1:
        yield output[1]
        if len(output) > 2:  # noqa: PLR2004 - otherwise the second is the last
            yield output[-1]
            yield tuple(output[1:])


def continued(name: str, output: object, after: Inputs, run: Run) -> Iterator[tuple[Inputs, Any]]:
    """The calls that accept a state of that output, with their outputs.

    Args:
        name: of the argument that takes it.
        output: of the call before.
        after: the next call, without state.
        run: calls a module like it.
    """
    for state in states(output):
        if next(tree.tensors(state), None) is None:
            continue  # it gives a state back to those only who gave it one
        inputs = Inputs(after.args, {**after.kwargs, name: state})
        try:
            found = run(inputs)
        except Exception:  # noqa: BLE001, S112 - that was no state
            continue
        if any(bool(one.isfinite().all()) for one in tree.tensors(found)):
            yield inputs, found


def _free(module: nn.Module, inputs: Inputs) -> list[tuple[str, Any]]:
    """The arguments of forward that were not given, or given as None, with their defaults."""
    try:
        signature = inspect.signature(module.forward)
        given = signature.bind_partial(*inputs.args, **inputs.kwargs).arguments
    except (TypeError, ValueError):
        return []
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [
        (name, one.default)
        for name, one in signature.parameters.items()
        if one.kind in kinds and given.get(name) is None
    ]
