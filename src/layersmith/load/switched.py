"""Cases of the same class with a flag turned, alone and together with another, or with another size."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from layersmith.load.attempt import Deadline
from layersmith.load.otherwise import error_of
from layersmith.subject import Case


def flags(case: Case) -> dict[str, bool]:
    """The constructor's flags and what they are; none where it is not known how the module was constructed."""
    construction = case.subject.construction
    if construction is None:
        return {}
    try:
        parameters = inspect.signature(construction.cls).parameters
    except (TypeError, ValueError):
        return {}
    values = {name: construction.arguments.get(name, one.default) for name, one in parameters.items()}
    return {name: value for name, value in values.items() if isinstance(value, bool)}


def switched_on(case: Case, names: Collection[str], deadline: Deadline) -> Iterator[tuple[str, Case]]:
    """Cases that can be called with the first of these flags on, if it is off; and with another turned, too.

    Args:
        case: the usual one.
        names: of the flags.
        deadline: after which no more are made.

    Yields:
        What was changed, as in source, and the case.
    """
    known = flags(case)
    off = [name for name in names if known.get(name) is False]
    for name in off[:1]:
        others: list[dict[str, bool]] = [{}, *({one: not known[one]} for one in known if one not in names)]
        for other in others:
            changes = {name: True, **other}
            made = None if deadline.is_over else _made(case, changes, deadline)
            if made is not None:
                yield ", ".join(f"{key}={value}" for key, value in changes.items()), made
            elif not other:
                return


def with_sizes(case: Case, sizes: Mapping[str, int], deadline: Deadline) -> Iterator[tuple[str, Case]]:
    """Cases that can be called with one of these arguments of the constructor at that size, where it takes a number.

    Yields:
        What was changed, as in source, and the case.
    """
    construction = case.subject.construction
    parameters = inspect.signature(construction.cls).parameters if construction is not None else {}
    for name, size in sizes.items():
        usual = parameters[name].default if name in parameters else None
        if construction is not None and type(construction.arguments.get(name, usual)) is int:
            made = None if deadline.is_over else _made(case, {name: size}, deadline)
            if made is not None:
                yield f"{name}={size}", made


def _made(case: Case, changes: dict[str, Any], deadline: Deadline) -> Case | None:
    try:
        made = case.subject.otherwise(**changes).case(seed=case.seed)
    except Exception:  # noqa: BLE001 - what it raises is another rule's business
        return None
    return made if error_of(made.module, made.inputs, deadline, seed=case.seed) is None else None
