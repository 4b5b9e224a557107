"""Which numbers a constructor wants: `0.0 < ratio <= 1.0`, `assert 0 <= rate < 1`, `blocks = (depth - 2) // 9`."""

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
    """The values, those that the constructor asks for first; the middle of its range where none is.

    Of what it takes a few off and divides, the least that leaves one: a stage of no blocks is built as well.
    """
    divided = _divided(cls).get(name) if cls is not None else None
    if divided is not None:
        return [divided, *(one for one in values if one != divided)]
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


@functools.lru_cache(maxsize=512)
def _divided(cls: Any) -> dict[str, int]:
    """Of each parameter that is divided without remainder, less some: the sum of both numbers."""
    node = source.function_node(cls.__init__)
    found: dict[str, int] = {}
    for part in ast.walk(node) if node is not None else ():
        if not isinstance(part, ast.BinOp) or not isinstance(part.op, ast.FloorDiv):
            continue
        less, by = part.left, _number(part.right)
        if isinstance(less, ast.BinOp) and isinstance(less.op, ast.Sub) and type(by) is int:
            off, name = _number(less.right), ast.unparse(less.left).removeprefix("self.")
            if type(off) is int and off > 1 and by > 1:  # `(kernel - 1) // 2` is a padding
                found.setdefault(name, off + by)
    return found


def _number(node: ast.expr) -> float | None:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return None
    return value if type(value) in NUMBERS else None
