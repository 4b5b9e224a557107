"""Waivers in the source: `class Block(nn.Module):  # layersmith: allow batch-leak because rows are compared`."""

from __future__ import annotations

import ast
import linecache
import re
from collections.abc import Iterator

from layersmith.errors import UsageError
from layersmith.probe import source

FORM = "# layersmith: allow batch-leak because rows are compared"
_COMMENT = re.compile(r"#\s*layersmith:\s*(.*)", re.IGNORECASE)
_ALLOW = re.compile(r"allow\s+([\w-]+(?:\s*,\s*[\w-]+)*)\s*(?:because\s+(.*))?")


def waivers(cls: type) -> dict[str, str]:
    """What the comments of a class's own statement waive: rule or promise -> reason.

    They stand on the lines of the statement (its decorators included), before the body begins.

    Raises:
        UsageError: for a comment of another form, or one without a reason, with its place.
    """
    node = source.class_node(cls)
    if node is None:
        return {}
    return {
        rule: reason
        for line, text in _comments(source.file_of(cls), node)
        for rule, reason in _read(line, text)
    }


def _comments(file: str, node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """Place and text of the comments that speak to Layersmith, in the head of a class statement."""
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    for number in range(first, max(first + 1, node.body[0].lineno)):
        if (found := _COMMENT.search(linecache.getline(file, number))) is not None:
            yield f"{file}:{number}", found[1].strip()


def _read(place: str, text: str) -> Iterator[tuple[str, str]]:
    found = _ALLOW.fullmatch(text)
    if found is None:
        raise UsageError(f"{place}: `layersmith: {text}` cannot be read; write {FORM}")
    if not (found[2] or "").strip():
        raise UsageError(f"{place}: allow {found[1]} needs a reason: {FORM}")
    for rule in re.split(r"\s*,\s*", found[1]):
        yield rule, found[2].strip()
