"""The state that a module makes itself: `init_hidden(batch_size)` beside `forward(x, hidden)`."""

from __future__ import annotations

import inspect
import re
from contextlib import suppress
from typing import Any

import torch

from layersmith.load.call.callee import Callee
from layersmith.load.call.clue import BATCH
from layersmith.load.call.named import STATE
from layersmith.load.constructor.names import plain
from layersmith.load.values import TensorSpec
from layersmith.probe.surroundings import preserved
from layersmith.probe.tree import map_tensors, tensors

_MAKES = re.compile(
    r"(?:init|initial|zero|get_initial|get_init|begin)_?(?:hidden|state)s?(?:_state)?", re.IGNORECASE
)


def made_state(callee: Callee, name: str) -> Any:
    """What such a method makes for the usual batch, as specs; None where there is none, or of another argument."""
    is_given = callee.parameters[name].default is inspect.Parameter.empty and STATE.search(plain(name))
    for member in dir(type(callee.module)) if is_given else ():
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
