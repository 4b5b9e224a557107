"""Settings that a constructor hands on whole: `Encoder(**config)`, `instantiate_from_config(config)`."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from layersmith.load.constructor import settings
from layersmith.load.constructor.syntax import resolved
from layersmith.load.constructor.usage import constructor, usages
from layersmith.probe import source

_NAMES_A_CLASS = re.compile(r"""\[['"]target['"]\]""")  # of which the rest are the arguments, `params`


def handed_on(wanted: Any, candidates: Callable[[Any], list[Any]]) -> Iterator[dict[str, Any]]:
    """What the classes, or the function, want that get all of a parameter; nothing where it is not so handed on.

    Args:
        wanted: what is known of the parameter.
        candidates: the values worth trying for one of theirs, of which the same is known.
    """
    for cls in wanted.cls.__mro__ if wanted.cls is not None else ():
        maker = vars(cls).get("__init__")
        if maker is not None and wanted.name in inspect.signature(maker).parameters:
            scope = getattr(maker, "__globals__", {})
            yield from _of_one(replace(wanted, cls=cls, scope=scope), candidates, source.function_node(maker))


def _of_one(
    wanted: Any, candidates: Callable[[Any], list[Any]], node: ast.AST | None
) -> Iterator[dict[str, Any]]:
    """The same by one constructor, its own or that of a base which it hands the parameter to."""
    taken: dict[str, tuple[type, inspect.Parameter]] = {}
    for call in (part for part in ast.walk(node or ast.Pass()) if isinstance(part, ast.Call)):
        called = resolved(call.func, wanted.scope)
        if inspect.isfunction(called) and wanted.name in {getattr(one, "id", "") for one in call.args}:
            if _NAMES_A_CLASS.search(_text(called)):
                yield {"target": "torch.nn.Identity"}
        elif inspect.isclass(called) and wanted.name in {
            getattr(one.value, "id", "") for one in call.keywords if not one.arg
        }:
            taken = {**{one.name: (called, one) for one in _taken(called, call)}, **taken}
    asked = {
        name: replace(wanted, name=name, annotation=one.annotation, usage=usages(cls)[name], cls=cls)
        for name, (cls, one) in taken.items()
        if one.default is one.empty
    }
    if asked:
        read = {name: taken[name][1].default for name in wanted.usage.keys & taken.keys() - asked.keys()}
        guessed = {
            name: candidates(one)[0] for name, one in asked.items()
        } | read  # `assert config["double_z"]`
        said = settings.told(taken, wanted.cls)
        flags = {name: value for name, value in said.items() if type(value) in (bool, list, str)}
        yield from (guessed | more for more in ({}, flags, said))


def _taken(called: type, call: ast.Call) -> Iterator[inspect.Parameter]:
    """The parameters of a class that are not given in a call."""
    given = {word.arg for word in call.keywords}
    for one in [*inspect.signature(constructor(called)).parameters.values()][1 + len(call.args) :]:
        if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD) and one.name not in given:
            yield one


def _text(function: Any) -> str:
    node = source.function_node(function)
    return ast.unparse(node) if node is not None else ""
