"""Words for messages."""

from __future__ import annotations

from collections.abc import Sequence

SHOWN = 3


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are: "a, b, c and 4 more"."""
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def first_line(text: str) -> str:
    """The first line that says something; "" where none does."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def short(error: BaseException) -> str:
    """An error as text for a message: its class and the first of its words, on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split()):.200}"


def span(numbers: list[int]) -> str:
    """`3 to 5` of neighbours, else the first few of them."""
    is_run = len(numbers) > 1 and numbers == list(range(numbers[0], numbers[-1] + 1))
    return f"{numbers[0]} to {numbers[-1]}" if is_run else ", ".join(map(str, numbers[:6]))
