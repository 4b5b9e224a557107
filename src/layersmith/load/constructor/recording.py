"""What modules were built with: seen by watching the constructor while other code calls it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from layersmith.load.constructor.usage import constructor

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@contextmanager
def recorded(cls: type[nn.Module]) -> Iterator[dict[int, dict[str, Any]]]:
    """The arguments of every instance of the class that is built inside, by its id and then by parameter.

    An instance whose arguments do not all have names is left out. The class is as before afterwards.
    """
    found: dict[int, dict[str, Any]] = {}
    original, is_own = constructor(cls), "__init__" in vars(cls)
    signature = inspect.signature(original)

    @functools.wraps(original)
    def watching(self: nn.Module, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        if type(self) is cls:
            bound = signature.bind(self, *args, **kwargs).arguments
            given = dict([*bound.items()][1:])
            if all(signature.parameters[name].kind not in _VARIADIC for name in given):
                found[id(self)] = given

    type.__setattr__(cls, "__init__", watching)
    try:
        yield found
    finally:
        if is_own:
            type.__setattr__(cls, "__init__", original)
        else:
            type.__delattr__(cls, "__init__")
