"""What an annotation allows: the values that it lists, and whether it is for one number or for one an axis."""

from __future__ import annotations

import ast
import enum
import inspect
import re
import types
import typing
from typing import Any


def values(annotation: Any) -> list[Any]:
    """The literal values, or members of an enumeration, that an annotation lists."""
    if isinstance(annotation, str):
        return _listed(annotation)
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return [*typing.get_args(annotation)]
    if origin in (typing.Union, types.UnionType):
        return [value for part in typing.get_args(annotation) for value in values(part)]
    return [*annotation] if inspect.isclass(annotation) and issubclass(annotation, enum.Enum) else []


def _listed(text: str) -> list[Any]:
    """The strings of an annotation that is text: `Literal["relu", "gelu"]`."""
    if "Literal[" not in text:
        return []
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError:
        return []
    return [part.value for part in ast.walk(tree) if isinstance(part, ast.Constant)]


def takes_several(annotation: Any) -> bool:
    """Whether it is for one number, or for one an axis: `int | tuple[int, int]`."""
    parts = {re.sub(r"\W.*", "", part.strip()) for part in _text(annotation).split("|")}
    return "int" in parts and bool(parts & {"tuple", "Tuple", "Sequence", "list", "List"})


def _text(annotation: Any) -> str:
    """An annotation as text, unions with bars."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return "|".join(_text(part) for part in typing.get_args(annotation))
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    inner = re.fullmatch(r"(?:typing\.)?Union\[(.*)\]", text)
    return "|".join(re.split(r",(?![^\[]*\])", inner[1])) if inner else text.removeprefix("typing.")
