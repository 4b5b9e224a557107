"""Module classes near at hand that have the attributes which a constructor asks of an argument."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import torch
from torch import nn

from layersmith.load.constructor import names
from layersmith.load.constructor.trace import Usage
from layersmith.load.project import is_foreign
from layersmith.probe import source

VALUE_METHODS = frozenset({*dir(str), *dir(dict), *dir(list), *dir(torch.Tensor), *dir(nn.Module)})
_OF_LAYERS = frozenset(
    {
        *nn.Linear.__constants__,
        *nn.Conv2d.__constants__,
        *nn.Embedding.__constants__,
        "weight",
        "bias",
        "fc",
        "features",
    }
)
_NEAREST = 3
_SETTINGS = 2  # attributes that are read of an object of settings, at least


def is_of_settings(usage: Usage, name: str, cls: type[nn.Module] | None) -> bool:
    """Whether attributes are read of it that no value, tensor or module has: `h.upsample_rates`, or `data.m` alone."""
    own = usage.attributes - VALUE_METHODS
    is_module = bool(names.MODULE.search(names.plain(name))) or "callable" in usage.kinds
    is_sure = len(own) >= _SETTINGS or (bool(own) and not usage.kinds and not own & _OF_LAYERS)
    if not is_sure or is_module or cls is None:
        return False
    return not classes_having(usage.attributes, name, cls)


def texts(usage: Usage) -> list[str]:
    """What it is compared with; nothing for settings that are asked for a key, and a list that is gone through."""
    is_other = bool(usage.keys) or "dict" in usage.kinds or bool(usage.attributes - VALUE_METHODS)
    return [] if is_other or usage.item is not None else usage.strings


def are_modules(usage: Usage, name: str) -> bool:
    """Whether it is used as several modules, or named so; one that is picked from by number holds counts or widths."""
    word, item = names.plain(name), usage.item or Usage()
    if "module" in usage.kinds | item.kinds:
        return True
    is_counted = usage.length > 0 or bool(re.match(r"(num|n)_|depths|dims", word))
    is_counted |= "number" in item.kinds or any(names.known_integers(p.name) for p in item.passed_as)
    return bool(names.MODULE.search(word.rstrip("s"))) and not is_counted


def classes_having(attributes: set[str], name: str, cls: type[nn.Module]) -> list[type[nn.Module]]:
    """Classes of the same package as `cls` that have all these attributes; like names, few arguments first.

    Args:
        attributes: what is read from the argument, `max_seq_len` say.
        name: of the parameter; a class of that name is preferred.
        cls: the class that wants the argument; not offered itself.
    """
    asked = _special(attributes)
    near: list[type] = list(dict.fromkeys(_near(cls)))
    likely = [other for other in near if other is not cls and asked and asked <= _mentioned(other)]
    fitting = [other for other in likely if asked <= _attributes(other)]
    word = name.replace("_", "")

    def strangeness(other: type) -> tuple[bool, int]:
        return word not in other.__name__.lower(), _required(other)

    return sorted(fitting, key=strangeness)[:_NEAREST]


def makers(usage: Usage, name: str, cls: type[nn.Module] | None, scope: Mapping[str, Any]) -> list[Any]:
    """What the file has, its own or imported, for a parameter that makes layers: `conv(64, 64, 3)`, `block(64, stride)`.

    First what the same parameter of another class or function has by default, then functions, then module classes; or
    what needs no argument, where attributes are read of what it makes.

    Args:
        usage: what is read from it before it is called, `expansion` say, or afterwards.
        name: of the parameter, which what fits bears in its own (`default_conv`), unless attributes say enough.
        cls: the class that wants the argument.
        scope: the names that its constructor sees.
    """
    word = name.removesuffix("_layer").removesuffix("_type").removesuffix("_cls").replace("_", "")
    own = [one for one in scope.values() if not source.is_torchs(getattr(one, "__module__", None) or "torch")]
    functions = [one for one in own if inspect.isfunction(one)]
    classes = [one for one in own if inspect.isclass(one) and issubclass(one, nn.Module) and one is not cls]
    blocks = [one for one in classes if cls is not None and not issubclass(one, cls)]
    given = [_default(one, name) for one in (*classes, *functions)]
    found = [one for one in given if callable(one) and not isinstance(one, nn.Module)]
    asked = _special(usage.attributes)
    if asked:
        return [one for one in (*found, *blocks) if all(hasattr(one, attribute) for attribute in asked)]
    if usage.made is not None and (made := _factories(usage.made.attributes, scope)):
        return made
    if len(word) > 3:  # noqa: PLR2004 - as long as a name that says something
        found += [one for one in functions if one.__name__.endswith(f"_{name}")]
        found += [one for one in blocks if word in one.__name__.lower()]
    return found


def _factories(attributes: set[str], scope: Mapping[str, Any]) -> list[Any]:
    """Functions and classes of the project that need no argument and make a module with these attributes.

    Args:
        attributes: what is read of what they make: `make().final_dim`.
        scope: the names that the constructor sees; modules of the project among them are looked through.
    """
    asked = _special(attributes)
    inside = [vars(one).values() for one in scope.values() if inspect.ismodule(one) and _is_projects(one)]
    near = [*scope.values(), *(thing for things in inside for thing in things)]
    classes: list[Any] = [one for one in near if inspect.isclass(one) and issubclass(one, nn.Module)]
    having = {one.__name__ for one in classes if asked and asked <= _attributes(one)}
    functions = [one for one in near if inspect.isfunction(one) and having & {*one.__code__.co_names}]
    found = [*functions, *(one for one in classes if one.__name__ in having)]
    return [one for one in found if not _required(one)][:_NEAREST]


def _special(attributes: set[str]) -> set[str]:
    """Those that not every module has."""
    return {attribute for attribute in attributes if not hasattr(nn.Module, attribute)}


def _is_projects(module: ModuleType) -> bool:
    return not is_foreign(getattr(module, "__file__", None) or "")


def _default(function: Any, name: str) -> Any:
    try:
        default = inspect.signature(function).parameters[name].default
    except (KeyError, TypeError, ValueError):
        return None
    return None if default is inspect.Parameter.empty else default


def _near(cls: type[nn.Module]) -> Iterator[type[nn.Module]]:
    top = cls.__module__.partition(".")[0]
    for name, module in list(sys.modules.items()):
        if name != top and not name.startswith(f"{top}."):
            continue
        for member in list(vars(module).values()):
            if inspect.isclass(member) and issubclass(member, nn.Module) and member.__module__ == name:
                yield member


def _mentioned(cls: type) -> set[str]:
    """Every name in the class, from the compiled code: far cheaper than its source, and nothing is missing."""
    found: set[str] = set()
    for base in cls.__mro__:
        if base not in (nn.Module, object):
            found |= vars(base).keys()
            codes = (
                getattr(inspect.unwrap(one), "__code__", None) for one in vars(base).values() if callable(one)
            )
            found.update(name for code in codes if code is not None for name in code.co_names)
    return found


@functools.lru_cache(maxsize=1024)
def _attributes(cls: type) -> frozenset[str]:
    """What instances have: methods, and what `self.x = ...` sets in any method of the class or its bases."""
    found = {name for base in cls.__mro__ if base is not nn.Module for name in vars(base)}
    for base in cls.__mro__:
        node = source.class_node(base) if base not in (nn.Module, object) else None
        for part in ast.walk(node) if node is not None else ():
            is_set = isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store)
            if is_set and isinstance(part, ast.Attribute) and getattr(part.value, "id", "") == "self":
                found.add(part.attr)
    return frozenset(found)


def _required(maker: Any) -> int:
    parameters = inspect.signature(maker).parameters.values()
    return sum(p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)
