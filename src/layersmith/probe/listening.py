"""The functions of the user's own that a call of a module calls, by their names: what they got, what they returned."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from torch import Tensor

from layersmith.probe.compiler import is_torchs


@dataclass(slots=True)
class Called:
    """One call of a function, its arguments as they were when it began."""

    function: Callable[..., Any]
    arguments: dict[str, Any]
    result: Any = None

    @property
    def name(self) -> str:
        """Of the function."""
        return self.function.__name__

    @property
    def tensor(self) -> str:
        """The name of the first argument that is a tensor of numbers."""
        return next((n for n, v in self.arguments.items() if isinstance(v, Tensor) and v.ndim > 1), "")


@dataclass(slots=True)
class Listening:
    """A context that hears of the calls of functions whose names match, none of them torch's.

    A method counts with the name of its class in front: `Rotary.forward`.
    """

    names: re.Pattern[str]
    calls: list[Called] = field(default_factory=list)
    is_on: bool = True
    _running: dict[int, Called] = field(default_factory=dict)
    _before: Any = None

    def __enter__(self) -> Self:
        self._before = sys.getprofile()
        sys.setprofile(self.heard)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(self._before)

    def heard(self, frame: types.FrameType, event: str, result: Any) -> None:
        """A function begins, with arguments that it may still change, or ends."""
        code = frame.f_code
        if event == "return":
            if (call := self._running.pop(id(frame), None)) is not None:
                call.result = result
        elif event == "call" and self.is_on and not is_torchs(code.co_filename):
            names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            owner = f"{type(frame.f_locals['self']).__name__}." if names[:1] == ("self",) else ""
            if not code.co_freevars and self.names.search(owner + code.co_name):
                function = types.FunctionType(code, frame.f_globals)
                call = Called(function, {name: frame.f_locals[name] for name in names})
                self._running[id(frame)] = call
                self.calls.append(call)
