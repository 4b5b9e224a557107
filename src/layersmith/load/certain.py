"""Errors that no argument mends: a call that does not fit, a loop that counts to a quotient, defaults that clash."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from torch import nn

from layersmith.load import failure
from layersmith.load.constructor.syntax import last_name, resolved
from layersmith.probe import slips, source

_MISFIT = re.compile(
    r"(?:\w+\.)*(\w+)\(\) "
    r"(?:missing \d+ required|got an unexpected keyword argument|takes (?:from \d+ to )?\d+ positional)"
)
_LAYER_MISFIT = re.compile(
    r"(\w+)\.forward\(\) (?:missing \d+ required|got an unexpected keyword|takes (?:from \d+ to )?\d+ positional)"
)
_NO_WHOLE = re.compile(
    r"'float' object cannot be interpreted as an integer|tuple of ints, ?but (?:got|found element of type) float|"
    r"new\(\) received an invalid combination of arguments - got \((?:\w+, )*float"
)
_NO_TUPLE = re.compile(r"(\w+)\(\): argument '\w+' \(position 1\) must be Tensor, not tuple")


def is_certain(error: BaseException) -> bool:
    """Whether the failing statement is wrong whatever it works on."""
    return isinstance(error, TypeError) and (
        _counts_a_quotient(error)
        or _misfits(error)
        or _misfits_a_layer(error)
        or _takes_no_tuple(error)
        or _calls_a_module(error)
    )


def is_built_wrong(error: BaseException, arguments: Mapping[str, Any]) -> bool:
    """Whether no arguments help a constructor: the same, a name that is nowhere, or sizes of its own that are none."""
    return slips.is_slip(error) or is_certain(error) or _is_of_defaults(error, arguments)


def _is_of_defaults(error: BaseException, arguments: Mapping[str, Any]) -> bool:
    """Whether a constructor of which nothing was asked takes its own sizes for what they are not: `Conv2d(64 / 2)`."""
    said = re.search(
        r"must be tuple of ints, but found element of type float|integer argument expected", str(error)
    )
    return not arguments and isinstance(error, TypeError) and said is not None


def _counts_a_quotient(error: TypeError) -> bool:
    """Whether what a true division gives is taken for a whole number: `range(n / 2)`, `Linear(width / 2, 8)`."""
    statement = failure.statement(error) if _NO_WHOLE.search(str(error)) else None
    calls = (part for part in ast.walk(statement or ast.Pass()) if isinstance(part, ast.Call))
    return any(_takes_a_quotient(call) for call in calls)


def _takes_a_quotient(call: ast.Call) -> bool:
    """Whether that stands for itself among the arguments, or in a sum, and no other call does."""
    parts = [
        part for given in (*call.args, *(word.value for word in call.keywords)) for part in ast.walk(given)
    ]
    quotients = [part for part in parts if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Div)]
    return bool(quotients) and not any(isinstance(part, ast.Call) for part in parts)


def _misfits(error: TypeError) -> bool:
    """Whether a function of a module is called with what it does not take: `F.leaky_relu()`, `split(x, split_size=2)`."""
    found = _MISFIT.match(str(error))
    frames = failure.frames(error)
    if found is None or not frames or frames[0][0].f_code.co_filename.startswith(source.TORCH):
        return False
    frame, statement = frames[0][0], failure.statement(error)
    calls = [one for one in ast.walk(statement or ast.Pass()) if isinstance(one, ast.Call)]
    named = [one for one in calls if last_name(one.func) == found[1]]
    return len(named) == 1 and _is_plain(named[0]) and _is_of_a_module(named[0].func, frame)


def _misfits_a_layer(error: TypeError) -> bool:
    """Whether one of torch's layers is called with what it does not take: `self.loss(x)` of a CrossEntropyLoss."""
    found = _LAYER_MISFIT.match(str(error))
    layer = getattr(nn, found[1], None) if found else None
    users = (
        frame for frame, _ in failure.frames(error) if not frame.f_code.co_filename.startswith(source.TORCH)
    )
    owner = next(users).f_locals.get("self") if layer is not None else None
    cls: type = type(owner)
    if layer is None or owner is None or f"{layer.__name__}(" not in source.text_of(cls):
        return False  # it may have been given what it calls
    calls = (one for one in ast.walk(failure.statement(error) or ast.Pass()) if isinstance(one, ast.Call))
    called = [one for one in calls if isinstance(getattr(owner, last_name(one.func), None), layer)]
    return len(called) == 1 and _is_plain(called[0])


def _takes_no_tuple(error: TypeError) -> bool:
    """Whether a tuple is written where a function of torch takes a tensor: `torch.flatten((x, 1))`."""
    found = _NO_TUPLE.match(str(error))
    statement = failure.statement(error)
    calls = [one for one in ast.walk(statement or ast.Pass()) if isinstance(one, ast.Call)]
    named = [one for one in calls if found and last_name(one.func) == found[1]]
    return len(named) == 1 and bool(named[0].args) and isinstance(named[0].args[0], ast.Tuple)


def _calls_a_module(error: TypeError) -> bool:
    """Whether a module of Python's is called that once was a function: `torch.fft(x, 1)`."""
    frames = failure.frames(error) if str(error) == "'module' object is not callable" else []
    calls = [one for one in ast.walk(failure.statement(error) or ast.Pass()) if isinstance(one, ast.Call)]
    found = (resolved(one.func, frames[0][0].f_globals) for one in calls if frames)
    return any(isinstance(one, ModuleType) for one in found)


def _is_plain(call: ast.Call) -> bool:
    """Whether it spreads nothing, `f(*args, **kwargs)`."""
    return not any(isinstance(one, ast.Starred) for one in call.args) and all(
        one.arg for one in call.keywords
    )


def _is_of_a_module(function: ast.expr, frame: Any) -> bool:
    """Whether it is found by a global name, which no local one hides."""
    root = next((part.id for part in ast.walk(function) if isinstance(part, ast.Name)), "")
    is_local = root in frame.f_code.co_varnames or root in frame.f_code.co_freevars
    return not is_local and callable(resolved(function, frame.f_globals))
