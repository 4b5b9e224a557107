"""Settings that have a value, chosen by name, for everything that is read of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

from layersmith.load.constructor import names
from layersmith.load.constructor.syntax import TYPED_GETTER


class AnyConfig:
    """Has a value, chosen by name, for every attribute and key."""

    def __init__(self, known: Mapping[str, Any]) -> None:
        vars(self).update(known)

    def __getattr__(self, name: str) -> Any:
        """A value by name; remembered."""
        if name.startswith("__"):
            raise AttributeError(name)
        if TYPED_GETTER.match(name):
            return partial(_asked, self.get, self.__getattr__)
        value = scalar(name)
        setattr(self, name, value)
        return value

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)

    def __contains__(self, name: str) -> bool:
        """As in what argparse returns."""
        return name in vars(self)

    def get(self, name: str, default: Any = None) -> Any:
        """As a dict's."""
        return vars(self).get(name, default)


class AnyDict(dict[str, Any]):
    """A dict that has a value, chosen by name, for every key."""

    def __missing__(self, key: str) -> Any:
        """A value by name; remembered."""
        self[key] = scalar(str(key).lower())
        return self[key]

    def __getattr__(self, name: str) -> Any:
        """The getters of settings that are read by kind: `conf.get_int("width", 64)`."""
        if not TYPED_GETTER.match(name):
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        return partial(_asked, self.get, self.__getitem__)


def _asked(get: Callable[[str, Any], Any], make: Callable[[str], Any], name: str, default: Any = None) -> Any:
    """What there is by a name; the default where it is given, a value by name else."""
    found = get(name, default)
    return make(name) if found is None else found


def scalar(name: str, annotation: Any = None) -> Any:
    """One number, flag, string or dtype for a name, used where nothing else is known."""
    if "dtype" in name or "device" in name:
        return torch.float32 if "dtype" in name else "cpu"
    said = getattr(annotation, "__name__", str(annotation))
    if said == "bool" or (said in ("_empty", "None") and names.is_flag(name)):
        return False
    if said == "float" or (said in ("_empty", "None") and names.is_real(name)):
        return names.floats(name)[0]
    if said == "str" or (said in ("_empty", "None") and names.TEXT.search(name)):
        return names.texts(name)[0]
    known = names.known_integers(name)
    return "gelu" if names.ACTIVATION.search(name) else consistent(name, known)


def consistent(name: str, known: list[Any]) -> int:
    """One width for all that must be equal in a config: its sizes are those of one residual stream."""
    value = known[0] if known else names.WIDTH
    is_width = value in (names.INPUT, names.OUTPUT) or re.search(r"^hidden_(size|dim)$", name)
    return names.WIDTH if is_width else int(value)
