"""What may stand after a promise's keyword in a contract: each reader returns the value, or says what is wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from layersmith.errors import UsageError


def true(name: str, value: object) -> bool:
    """`odd=True`; to promise nothing, the keyword is left out."""
    if value is not True:
        raise _wrong(name, f"{name}=True", value)
    return True


def axis(name: str, value: object) -> int:
    """`causal=1`: an axis of the first input."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(name, f"an axis, such as {name}=1", value)
    return value


def number(name: str, value: object) -> float:
    """`lipschitz=1.0`: a positive number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise _wrong(name, f"a positive number, such as {name}=1.0", value)
    return float(value)


def interval(name: str, value: object) -> tuple[float, float]:
    """`range=(0, 1)`: the lowest and the highest value; `float("inf")` for none."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:  # noqa: PLR2004 - two ends
        raise _wrong(name, f"two numbers, such as {name}=(0, 1)", value)
    low, high = value
    if (
        not all(isinstance(end, int | float) and not isinstance(end, bool) for end in value)
        or not low <= high
    ):
        raise _wrong(name, f"two numbers in order, such as {name}=(0, 1)", value)
    return float(low), float(high)


def one_of(name: str, value: object, choices: tuple[str, ...]) -> str:
    """`monotone="increasing"`."""
    if not isinstance(value, str) or value not in choices:
        raise _wrong(name, " or ".join(f'{name}="{choice}"' for choice in choices), value)
    return value


def argument(name: str, value: object) -> str:
    """`rotation_equivariant="pos"`: an argument of forward."""
    if not isinstance(value, str) or not value.isidentifier():
        raise _wrong(name, f'an argument of forward, such as {name}="pos"', value)
    return value


def maps(name: str, value: object) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """`equivariant=(map_in, map_out)`: functions of the input and of the output."""
    if not isinstance(value, Sequence) or len(value) != 2 or not all(map(callable, value)):  # noqa: PLR2004 - in, out
        raise _wrong(name, f"two functions: {name}=(map_in, map_out)", value)
    first, second = value
    return first, second


def _wrong(name: str, wanted: str, value: object) -> UsageError:
    return UsageError(f"the contract wants {wanted}, not {name}={value!r:.80}")
