"""The kind of a constructor's argument where only a docstring says it: `cat_idxs : list of int`."""

from __future__ import annotations

import re
import types
from typing import Any

_KINDS: dict[str, Any] = {
    "int": int,
    "integer": int,
    "float": float,
    "bool": bool,
    "boolean": bool,
    "str": str,
    "string": str,
}
_KIND = rf"({'|'.join(_KINDS)})"
_SEVERAL = rf"(?:list|tuple|sequence)s?(?: of |\[){_KIND}s?"
# `name : int`, `name (int, optional): ...`, `:param int name:`, `:type name: int`; an alternative may follow.
_PLACES = (
    r"^[ \t]*{name}[ \t]*:[ \t]*{kind}\b",
    r"\b{name}`*\*{{0,2}}[ \t]*\({kind}\b",
    r":param {kind} {name}:",
    r":type {name}:[ \t]*{kind}\b",
)


def told_kind(cls: type, name: str) -> Any:
    """The type that docstrings of a class or its constructor give to an argument; None where they do not."""
    texts = [getattr(held, "__doc__", None) or "" for held in (cls, vars(cls).get("__init__"))]
    for text in texts:
        if several := _found(text, name, _SEVERAL):
            return types.GenericAlias(list, (several,))
        if one := _found(text, name, _KIND):
            return one
    return None


def _found(text: str, name: str, kind: str) -> Any:
    for place in _PLACES:
        pattern = place.format(name=re.escape(name), kind=kind)
        if found := re.search(pattern, text, re.IGNORECASE | re.MULTILINE):
            return _KINDS[found[1].lower()]
    return None
