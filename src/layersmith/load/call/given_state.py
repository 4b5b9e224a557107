"""The state that a module is given: as it makes it itself, by `init_hidden(batch_size)`, or as forward takes it apart."""

from __future__ import annotations

import inspect
import re
from contextlib import suppress
from typing import Any

import torch
from torch import nn

from layersmith.load.call.callee import Callee
from layersmith.load.call.clue import BATCH
from layersmith.load.call.named import HIDDEN_ARGUMENTS, STATE
from layersmith.load.call.syntax import taken_twice
from layersmith.load.constructor.names import plain
from layersmith.load.values import TensorSpec
from layersmith.probe import source
from layersmith.probe.surroundings import preserved
from layersmith.probe.tree import map_tensors, tensors

_MAKES = re.compile(
    r"(?:init|initial|zero|get_initial|get_init|begin)_?(?:hidden|state)s?(?:_state)?", re.IGNORECASE
)
_LAYERS = re.compile(r"^(num|n|rnn|lstm|gru)_?layers$")


def given_state(callee: Callee, name: str) -> Any:
    """The state for the usual batch, as specs; None where nothing tells of it, or of another argument."""
    is_given = callee.parameters[name].default is inspect.Parameter.empty and STATE.search(plain(name))
    return (_made(callee) or _of_cells(callee, name)) if is_given else None


def _of_cells(callee: Callee, name: str) -> Any:
    """Those of several cells, [cells, batch, hidden] each: `state[0][-1]`, `state[1][0]`, in it or a part of it."""
    kinds = dict.fromkeys(map(type, nn.Module.modules(callee.module)))
    functions = (
        source.function_node(source.forward(kind)) for kind in kinds if not source.is_torchs(kind.__module__)
    )
    found = (taken_twice(function, name) for function in functions if function is not None)
    parts, cells = next((one for one in found if one[0] > 1), (0, 0))
    size, cells = callee.told(HIDDEN_ARGUMENTS), max(cells, callee.told(_LAYERS))
    return (TensorSpec((cells, BATCH, size)),) * parts if parts > 1 and size else None


def _made(callee: Callee) -> Any:
    """What a method makes that is there for it; None where there is none."""
    for member in dir(type(callee.module)):
        method = getattr(callee.module, member, None) if _MAKES.fullmatch(member) else None
        needed = _required(method)
        if needed is None or len(needed) > 1:
            continue
        # It may want what only a training loop has, and raise.
        with suppress(Exception), preserved(seed=0), torch.no_grad():
            made = method(BATCH) if needed else method()  # type: ignore[misc]
            if any(True for _ in tensors(made)):
                return map_tensors(TensorSpec.of, made)
    return None


def _required(method: Any) -> list[str] | None:
    """The names of the arguments that it must be given; None of what is no method."""
    if not inspect.ismethod(method):
        return None
    parameters = inspect.signature(method).parameters.values()
    return [
        one.name for one in parameters if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD
    ]
