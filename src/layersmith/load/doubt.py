"""Whether a way to call a class that was found by inference is confirmed by anything, or but a guess."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from layersmith.load.call.callee import Callee
from layersmith.load.constructor.search import Construction
from layersmith.load.constructor.standins import AnyModule
from layersmith.load.values import Call, Made, TensorSpec
from layersmith.subject import STAND_IN

FAILS = "it fails whatever it is given"


def doubt(construction: Construction, call: Call, callee: Callee) -> str:
    """Why the call is a guess: a stand-in was given for a module, or nothing says what the input is; else ""."""
    for name, value in construction.arguments.items():
        if any(made.is_stand_in for made in _made(value)):
            return f"{name} {STAND_IN}"
    for name, value in zip(callee.parameters, call.args, strict=False):
        if any(made.is_stand_in for made in _made(value)):
            return f"{name} {STAND_IN}"
    inner = next((path for path, part in callee.module.named_modules() if isinstance(part, AnyModule)), "")
    return f"{inner} {STAND_IN}" if inner else _open(call, callee)


def is_open(call: Call, callee: Callee) -> bool:
    """Whether nothing says the rank of the main input: a linear map takes any, and so does what is elementwise."""
    name = callee.required[0] if callee.parameters else ""
    main = next(iter(call.args), None)
    if not isinstance(main, TensorSpec):
        return False
    clue = callee.clues[name]
    return not (clue.rank or clue.channels or len(clue.sizes) or clue.parts)


def _open(call: Call, callee: Callee) -> str:
    """The main input, if it is a tensor of floats of which neither the source nor the constructor says anything."""
    name = callee.required[0] if callee.parameters else ""
    main = next(iter(call.args), None)
    if not isinstance(main, TensorSpec) or main.dtype is not torch.float32:
        return ""
    if callee.clues[name].is_known or not list(callee.module.parameters()):
        return ""
    told = {value for value in (*callee.arguments.values(), *callee.given.values()) if type(value) is int}
    if main.rank and main.shape[-1] in told:
        return ""
    return f"nothing says the shape of {name}" if main.free == frozenset(range(main.rank)) else ""


def _made(value: Any) -> Iterator[Made]:
    if isinstance(value, Made):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _made(item)
