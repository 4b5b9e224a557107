"""The kind of a constructor's argument where only a docstring says it: `cat_idxs : list of int`."""

from __future__ import annotations

import re
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
    for text, (pattern, is_list) in (
        (text, one) for text in texts for one in ((_SEVERAL, True), (_KIND, False))
    ):
        for place in _PLACES:
            found = re.search(
                place.format(name=re.escape(name), kind=pattern), text, re.IGNORECASE | re.MULTILINE
            )
            if found:
                kind = _KINDS[found.group(1).lower()]
                return list[kind] if is_list else kind
    return None
