"""Which of its results a caller wants, by their names: `return [found[key] for key in keys]`."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from layersmith.probe import source

_SEVERAL = 2  # of the names are asked for at once


def picked(function: source.Function, name: str) -> str | list[str] | None:
    """The last of the names that forward gives to its results, or a list of the last few where it goes through them.

    Args:
        function: forward.
        name: of the argument; None unless it, or an item of it, picks from a dict that forward fills under names.
    """
    items = {name: False} | dict.fromkeys(_items_of(function, name), True)
    for node in ast.walk(function):
        if not isinstance(node, ast.Subscript) or not isinstance(node.slice, ast.Name):
            continue
        owner, key = getattr(node.value, "id", ""), node.slice.id
        names = [*dict.fromkeys(_names_in(function, owner))] if owner and key in items else []
        if names:
            return names[-_SEVERAL:] if items[key] else names[-1]
    return None


def _items_of(function: source.Function, name: str) -> Iterator[str]:
    """What a loop calls the items of an argument."""
    for node in ast.walk(function):
        if isinstance(node, ast.For | ast.comprehension) and getattr(node.iter, "id", "") == name:
            yield getattr(node.target, "id", "")


def _names_in(function: source.Function, owner: str) -> Iterator[str]:
    """The texts under which a local dict is filled: `found = {"conv1": x}`, `found["conv2"] = y`."""
    for node in ast.walk(function):
        if not isinstance(node, ast.Assign):
            continue
        target, keys = node.targets[0], node.value.keys if isinstance(node.value, ast.Dict) else []
        if getattr(target, "id", "") == owner:
            texts: list[ast.expr | None] = [*keys]
        elif isinstance(target, ast.Subscript) and getattr(target.value, "id", "") == owner:
            texts = [target.slice]
        else:
            continue
        yield from (
            text.value for text in texts if isinstance(text, ast.Constant) and isinstance(text.value, str)
        )
