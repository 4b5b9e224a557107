"""What an expression of a constructor calls, as far as it can be known without running anything."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from layersmith.load.constructor.syntax import resolved
from layersmith.load.project import is_foreign
from layersmith.probe import source


def callee_of(function: ast.expr, cls: type, scope: Mapping[str, Any]) -> Any:
    """The class or function behind `Block`, `nn.Linear`, or the base's `super().__init__`; None where it is not known.

    Args:
        function: what is called.
        cls: the class whose constructor it is.
        scope: the names that the constructor sees.
    """
    if isinstance(function, ast.Attribute) and function.attr == "__init__":
        return next((base for base in cls.__mro__[1:] if "__init__" in vars(base)), None)
    return resolved(function, scope)


def own_function(function: ast.expr, cls: type, scope: Mapping[str, Any]) -> Any:
    """The class's own `self._make_layer`, or a function of the project: `get_act(config)`; None of anything else.

    Args:
        function: what is called.
        cls: the class whose constructor it is.
        scope: the names that the constructor sees.
    """
    if isinstance(function, ast.Attribute) and getattr(function.value, "id", "") == "self":
        method = inspect.getattr_static(cls, function.attr, None)
        return method if inspect.isfunction(method) or isinstance(method, staticmethod) else None
    found = resolved(function, scope)
    return found if inspect.isfunction(found) and not is_foreign(found.__code__.co_filename) else None


def users_module(thing: Any) -> type[nn.Module] | None:
    """The thing, if it is a module class that is not torch's own; else None."""
    is_module = inspect.isclass(thing) and issubclass(thing, nn.Module)
    return thing if is_module and not source.is_torchs(thing.__module__) else None
