"""`[tool.layersmith.examples]`: how classes are called, or why they are left out, as the user says. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layersmith.errors import UsageError

FORM = '"Block" = "Block(64, heads=4)(f32[2,16,64])", a list of such texts, or { skip = "reason" }'


@dataclass(frozen=True, slots=True)
class Example:
    """What the user says of one class."""

    calls: tuple[str, ...] = ()
    skip: str = ""  # the reason


def parse(table: object, *, source: str) -> dict[str, Example]:
    """The examples of one table by class: its name, its dotted path or `file.py::Class`.

    Raises:
        UsageError: for a value of another form, naming the file and the class.
    """
    if not isinstance(table, dict):
        raise UsageError(f"{source}: [tool.layersmith.examples] maps a class to a call: {FORM}")
    return {name: _example(value, f"{source}: example of {name!r}") for name, value in table.items()}


def of(examples: Mapping[str, Example], *, file: str, module: str, name: str) -> Example | None:
    """What is said of a class; the most exact name counts."""
    place = Path(file).resolve().as_posix() if file else ""
    for key, example in examples.items():
        path, _, last = key.partition("::")
        if last == name and place and f"/{place}".endswith(f"/{path.removeprefix('./')}"):
            return example
    return examples.get(f"{module}.{name}") or examples.get(name)


def _example(value: Any, where: str) -> Example:
    if isinstance(value, str):
        return Example((value,))
    if isinstance(value, list) and value and all(isinstance(text, str) for text in value):
        return Example(tuple(value))
    if isinstance(value, dict) and set(value) == {"skip"}:
        reason = value["skip"]
        if isinstance(reason, str) and reason.strip():
            return Example(skip=reason)
        raise UsageError(
            f'{where}: skip needs a reason, such as {{ skip = "needs weights" }}, not {reason!r}'
        )
    raise UsageError(f"{where} must be {FORM}, not {value!r}")
