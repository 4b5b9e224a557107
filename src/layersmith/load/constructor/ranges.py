"""Between which numbers a constructor wants an argument: `0.0 < ratio <= 1.0`, `assert 0 <= rate < 1`."""

from __future__ import annotations

import ast
import functools
from dataclasses import dataclass
from typing import Any

from layersmith.probe import source

NUMBERS = (int, float)
BOTH = 2  # comparisons of what is between two numbers


@dataclass(frozen=True, slots=True)
class Range:
    """Two numbers, and whether they are in it themselves."""

    low: float
    high: float
    has_low: bool
    has_high: bool

    def holds(self, value: Any) -> bool:
        """Whether a number lies in it."""
        is_above = value > self.low or (self.has_low and value == self.low)
        return is_above and (value < self.high or (self.has_high and value == self.high))


def within(cls: type | None, name: str, values: list[Any]) -> list[Any]:
    """The values, those that the constructor asks for first; the middle of its range where none is."""
    asked = _ranges(cls).get(name) if cls is not None else None
    numbers = [one for one in values if type(one) in NUMBERS]
    if asked is None or not numbers:
        return values
    middle = (asked.low + asked.high) / 2
    fitting = [one for one in numbers if asked.holds(one)]
    fitting = fitting or [round(middle) if type(numbers[0]) is int and middle > 1 else middle]
    return [*fitting, *(one for one in values if not any(one is other for other in fitting))]


@functools.lru_cache(maxsize=512)
def _ranges(cls: Any) -> dict[str, Range]:
    """Of each parameter that the constructor compares with two numbers at once."""
    node = source.function_node(cls.__init__)
    found: dict[str, Range] = {}
    for part in ast.walk(node) if node is not None else ():
        if not isinstance(part, ast.Compare) or len(part.ops) != BOTH:
            continue
        name, low, high = part.comparators[0], _number(part.left), _number(part.comparators[1])
        is_up = all(isinstance(op, ast.Lt | ast.LtE) for op in part.ops)
        if isinstance(name, ast.Name) and is_up and low is not None and high is not None:
            has_low, has_high = (isinstance(op, ast.LtE) for op in part.ops)
            found.setdefault(name.id, Range(low, high, has_low, has_high))
    return found


def _number(node: ast.expr) -> float | None:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return None
    return value if type(value) in NUMBERS else None
