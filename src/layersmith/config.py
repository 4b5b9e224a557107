"""`[tool.layersmith]` in pyproject.toml: which rules run, how long a subject may take, what is waived."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from layersmith.errors import UsageError
from layersmith.load import examples
from layersmith.load.examples import Example
from layersmith.promises import EXAMINATIONS

KEYS = ("select", "ignore", "exclude", "timeout", "waive", "examples", "gradients")
TIMEOUT = 60.0  # seconds of wall clock that one class may take


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of one project; the command line goes before them."""

    select: tuple[str, ...] = ()  # rule ids or groups; empty: all
    ignore: tuple[str, ...] = ()
    timeout: float = TIMEOUT
    waive: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # class -> rule -> reason; "*": all
    gradients: str = "quick"  # how far gradients are examined: "quick" or "full"
    exclude: tuple[str, ...] = ()  # patterns as in .gitignore: files and folders that are left out
    examples: Mapping[str, Example] = field(default_factory=dict)  # class -> how it is called
    jobs: int = field(default_factory=lambda: cores())  # noqa: PLW0108 - defined below
    # Of one run only, without a key in the file: this one and those that follow.
    is_locked: bool = False  # whether every class must be in the lock file
    unconfined: bool = False
    hide_cuda: bool = True  # questions are asked on the processor, and a card may be at work for its owner
    fork: bool = hasattr(os, "fork")  # copy a warm process for every class, or else start Python anew

    def waivers_of(self, module: str, name: str) -> dict[str, str]:
        """The waivers of one class: those of all, of its name and of its dotted path."""
        keys = ("*", name, f"{module}.{name}")
        return {rule: reason for key in keys for rule, reason in self.waive.get(key, {}).items()}


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def find(start: Path) -> Config:
    """The settings in the nearest pyproject.toml that has some, from `start` upwards; else the defaults."""
    for folder in (start.resolve(), *start.resolve().parents):
        path = folder / "pyproject.toml"
        if path.is_file() and (table := _table(path)) is not None:
            return parse(table, source=str(path))
    return Config()


def parse(table: Mapping[str, Any], *, source: str) -> Config:
    """The settings of one table.

    Raises:
        UsageError: for a key that is not known or a value of the wrong kind, naming the file.
    """
    if unknown := sorted(set(table) - set(KEYS)):
        raise UsageError(
            f"{source}: [tool.layersmith] has no key {unknown[0]!r}; its keys are {', '.join(KEYS)}"
        )
    waive = table.get("waive", {})
    if not isinstance(waive, dict) or not all(isinstance(rules, dict) for rules in waive.values()):
        raise UsageError(
            f'{source}: [tool.layersmith.waive] maps a class to its rules: Block = {{ rule = "reason" }}'
        )
    timeout = table.get("timeout", TIMEOUT)
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or timeout <= 0:
        raise UsageError(f"{source}: timeout must be a positive number of seconds, not {timeout!r}")
    _require_reasons(waive, source)
    gradients = table.get("gradients", EXAMINATIONS[0])
    if gradients not in EXAMINATIONS:
        raise UsageError(f"{source}: gradients must be one of {', '.join(EXAMINATIONS)}, not {gradients!r}")
    return Config(
        select=_names(table, "select", source),
        ignore=_names(table, "ignore", source),
        timeout=float(timeout),
        waive=waive,
        gradients=gradients,
        exclude=_names(table, "exclude", source),
        examples=examples.parse(table.get("examples", {}), source=source),
    )


def _require_reasons(waive: Mapping[str, Mapping[str, Any]], source: str) -> None:
    for cls, rules in waive.items():
        for rule, reason in rules.items():
            if not isinstance(reason, str) or not reason.strip():
                raise UsageError(
                    f'{source}: the waiver of {rule!r} for {cls} needs a reason: {rule} = "why this is meant"'
                )


def _names(table: Mapping[str, Any], key: str, source: str) -> tuple[str, ...]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise UsageError(f"{source}: {key} must be a list of texts, not {value!r}")
    return tuple(value)


def _table(path: Path) -> Mapping[str, Any] | None:
    try:
        tool = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from error
    return tool.get("layersmith") if isinstance(tool, dict) else None
