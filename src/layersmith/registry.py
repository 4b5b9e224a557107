"""Finds the rules; orders them, prerequisites first; selects them by id or group."""

from __future__ import annotations

import difflib
import functools
import graphlib
import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from layersmith.errors import UsageError
from layersmith.promises import Contract, Promise

if TYPE_CHECKING:  # the command line lists rules without importing torch
    from layersmith.rule import Rule

FOLDER = Path(__file__).parent / "rules"
DECLARED = "promises"  # the group whose files are the keywords of a contract
COMPILE = "compile"  # the group that takes longest: what it has no time for, no other need miss


@functools.cache
def rule_files() -> dict[str, Path]:
    """The file of every rule by its id, sorted; imports nothing."""
    files = FOLDER.glob("*/*.py")
    return {path.stem.replace("_", "-"): path for path in sorted(files) if path.stem != "__init__"}


def groups() -> frozenset[str]:
    """The names of the groups of rules."""
    return frozenset(path.parent.name for path in rule_files().values())


@functools.cache
def all_rules() -> tuple[Rule, ...]:
    """Every rule, each after its prerequisites, and those that compile last."""
    found = {id_: load(id_) for id_ in rule_files()}
    order = graphlib.TopologicalSorter({id_: found[id_].after for id_ in found})
    ordered = [found[id_] for id_ in order.static_order()]
    return tuple(sorted(ordered, key=lambda rule: rule.group == COMPILE))


@functools.cache
def load(id_: str) -> Rule:
    """The rule of that id, imported from its file; its examples may draw their weights, which nobody notices."""
    from layersmith.probe.surroundings import preserved  # noqa: PLC0415 - imports torch

    path = rule_files()[nearest(id_, rule_files())]
    with preserved():
        module = importlib.import_module(f"layersmith.rules.{path.parent.name}.{path.stem}")
    found: Rule = getattr(module, path.stem)
    return found


def chosen(*, select: Iterable[str] = (), ignore: Iterable[str] = ()) -> tuple[str, ...]:
    """The ids of the rules selected (all, when none is), less those ignored; imports nothing.

    Raises:
        UsageError: for a name that is neither a rule nor a group.
    """
    names = _names(select)
    return tuple(sorted((ids(names) if names else set(rule_files())) - ids(_names(ignore))))


def _names(given: Iterable[str]) -> tuple[str, ...]:
    """The names of a list; a string is one name, or several with commas between."""
    if isinstance(given, str):
        return tuple(name.strip() for name in given.split(",") if name.strip())
    return tuple(given)


def with_prerequisites(chosen_ids: Iterable[str]) -> tuple[Rule, ...]:
    """These rules and those that they need first, in order: so that one cause gives one finding."""
    wanted = set(chosen_ids)
    for rule in reversed(all_rules()):  # what is needed comes before what needs it
        if rule.id in wanted:
            wanted |= set(rule.after)
    return tuple(rule for rule in all_rules() if rule.id in wanted)


def ids(names: Iterable[str]) -> set[str]:
    """The ids meant by a list of rule ids and group names.

    Raises:
        UsageError: for a name that is neither; it names the nearest.
    """
    found: set[str] = set()
    for name in names:
        members = {id_ for id_, path in rule_files().items() if path.parent.name == name}
        found |= members or {nearest(name, rule_files())}
    return found


def require_known(waived: Iterable[str]) -> None:
    """Raise UsageError for a waiver of what is neither a rule nor a promise."""
    for name in waived:
        nearest(name, [*rule_files(), *Promise])


def require_sound(contract: Contract) -> None:
    """Raise UsageError for a contract that waives what is unknown, or states what no rule can ask or in a wrong way."""
    require_known(contract.waived)
    keywords = [path.stem for path in rule_files().values() if path.parent.name == DECLARED]
    for name, value in contract.declared.items():
        if name not in keywords:
            close = difflib.get_close_matches(name, [*keywords, "waive", "gradient", "reason"], n=1)
            meant = f"; did you mean {close[0]!r}?" if close else ""
            raise UsageError(f"a contract has no keyword {name!r}{meant} (it has {', '.join(keywords)})")
        importlib.import_module(f"layersmith.rules.{DECLARED}.{name}").read(value)


def nearest(name: str, known: Iterable[str]) -> str:
    """The name itself if it is a known rule, else a UsageError that suggests the nearest."""
    if name in (choices := [*known]):
        return name
    close = difflib.get_close_matches(name, [*choices, *groups()], n=1)
    meant = f"; did you mean {close[0]!r}?" if close else ""
    raise UsageError(f"unknown rule {name!r}{meant} (`layersmith explain` lists all rules)")
