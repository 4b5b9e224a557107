"""Config objects among a constructor's arguments: which of their fields a class reads, and copies with others."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import enum
import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from layersmith.load.constructor.any_settings import AnyConfig, AnyDict
from layersmith.load.values import Made
from layersmith.probe import comparisons, options
from layersmith.probe.options import Argument

_EMPTY = inspect.Parameter.empty
_NO_CONFIG = (
    AnyConfig,
    AnyDict,
    str,
    bytes,
    int,
    float,
    complex,
    list,
    tuple,
    set,
    Tensor,
    nn.Module,
    enum.Enum,
)


def fields(cls: type[nn.Module], arguments: Mapping[str, Any]) -> dict[Argument, Any]:
    """The fields of configs that the class, or what it hands them to, reads, each with its value."""
    found: dict[Argument, Any] = {}
    for name in options.names(cls):
        config = _config(cls, arguments, name)
        if config is None:
            continue
        for field in (one for one in comparisons.uses(cls).fields if one.startswith(f"{name}.")):
            plain = field.removeprefix(f"{name}.")
            value = _value(config, plain)
            if "." not in plain and value is not _EMPTY and not callable(value):
                found[Argument(field, *_declared(config, plain))] = value
    return found


def changed(cls: type[nn.Module], arguments: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes as arguments: those of fields (`config.dropout`) as copies of the configs with other values.

    Args:
        cls: the class.
        arguments: as it was built.
        changes: by the names of arguments and fields.
    """
    found = {name: value for name, value in changes.items() if "." not in name}
    for owner in dict.fromkeys(name.partition(".")[0] for name in changes if "." in name):
        theirs = {
            name.partition(".")[2]: value for name, value in changes.items() if name.startswith(f"{owner}.")
        }
        found[owner] = _with(_config(cls, {**arguments, **found}, owner), theirs)
    return found


def _config(cls: type[nn.Module], arguments: Mapping[str, Any], name: str) -> Any:
    """The object of settings that an argument is; None for something else, and for a stand-in.

    Nobody has said that what a stand-in holds goes together: a task of another model, say, that wants other sizes.
    """
    value = options.current(cls, arguments, name)
    value = value.make() if isinstance(value, Made) else value
    if value is _EMPTY or value is None or isinstance(value, _NO_CONFIG) or inspect.isroutine(value):
        return None
    is_module = inspect.isclass(value) and issubclass(value, nn.Module)
    is_torchs = type(value).__module__.partition(".")[0] == "torch"
    return (
        None
        if is_module or is_torchs or not (isinstance(value, Mapping) or hasattr(value, "__dict__"))
        else value
    )


def _value(config: Any, name: str) -> Any:
    if isinstance(config, Mapping):
        return config.get(name, _EMPTY)
    with contextlib.suppress(Exception):
        return getattr(config, name, _EMPTY)
    return _EMPTY


def _declared(config: Any, name: str) -> tuple[Any, Any]:
    """The default and the annotation of a field, as its class states them."""
    kind = config if inspect.isclass(config) else type(config)
    parameter = _parameters(kind).get(name)
    annotation = getattr(kind, "__annotations__", {}).get(name)
    if parameter is None:
        return _EMPTY, annotation
    return parameter.default, annotation if parameter.annotation is _EMPTY else parameter.annotation


def _with(config: Any, changes: Mapping[str, Any]) -> Any:
    """A copy of a config with other values, made as its class makes it where that can be."""
    kind = type(config)
    if isinstance(config, Mapping):
        found: Any = copy.copy(config)
        found.update(changes)
        return found
    if inspect.isclass(config):
        return kind(config.__name__, (config,), dict(changes))
    given = _given(config) if changes.keys() <= _parameters(kind).keys() else None
    if given is not None:
        return kind(**{**given, **changes})
    if (
        dataclasses.is_dataclass(config)
        and not isinstance(config, type)
        and changes.keys() <= _parameters(kind).keys()
    ):
        return dataclasses.replace(config, **changes)
    found = copy.copy(config)
    for name, value in changes.items():
        object.__setattr__(found, name, value)
    return found


def _given(config: Any) -> dict[str, Any] | None:
    """The fewest arguments with which its class makes an equal one, so that what it works out itself is left to it."""
    parameters = _parameters(type(config))
    with contextlib.suppress(Exception):
        stated = {name: getattr(config, name) for name in parameters}
        given = {name: value for name, value in stated.items() if value != parameters[name].default}
        for name in [*given]:
            fewer = {other: value for other, value in given.items() if other != name}
            given = fewer if _makes(config, fewer) else given
        return given if _makes(config, given) else None
    return None


def _makes(config: Any, given: Mapping[str, Any]) -> bool:
    """Whether its class makes an equal config of these arguments."""
    with contextlib.suppress(Exception):
        return bool(vars(type(config)(**given)) == vars(config))
    return False


def _parameters(kind: type) -> Mapping[str, inspect.Parameter]:
    """The constructor's parameters by name, variadic ones left out."""
    try:
        parameters = inspect.signature(kind).parameters
    except (TypeError, ValueError):
        return {}
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {name: one for name, one in parameters.items() if one.kind not in variadic}
