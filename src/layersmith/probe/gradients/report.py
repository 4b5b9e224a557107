"""What a gradient examination found: every number, and one sentence a person would say."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a gradient: by backward, by finite differences."""

    index: tuple[int, ...]
    got: float
    expected: float

    @property
    def ratio(self) -> float:
        """How many times too large; NaN where nothing is expected."""
        return self.got / self.expected if self.expected else math.nan


@dataclass(frozen=True, slots=True)
class WrongGradient:
    """One tensor whose gradient is not the derivative of forward."""

    tensor: str  # "weight", "input[0]", "block.0.bias"; "" where no single one can be named
    leg: str  # which part of the examination saw it
    kind: str  # "whole tensor x1.01", "element (3, 7)", "row 3", "detached", "raises in backward"
    message: str
    got: float = math.nan  # one slope, or one element, by backward
    expected: float = math.nan  # the same by finite differences
    index: tuple[int, ...] | None = None  # of the worst element, where it was found
    elements: int = 0  # how many the tensor has
    worst: tuple[Element, ...] = ()  # at most ten
    module: str = ""  # path of the innermost submodule to blame; "" for the module itself
    module_class: str = ""
    function: str = ""  # autograd.Function
    file: str = ""  # of that Function's backward, or of the call that cuts the graph
    line: int = 0

    @property
    def ratio(self) -> float:
        """How many times too large; NaN where nothing is expected."""
        return self.got / self.expected if self.expected else math.nan

    def __str__(self) -> str:
        """Say the message."""
        return self.message


def question_of(leg: str) -> str:
    """What a leg asks about: "layout", "frozen", "second order", "jvp", or else the "derivative" itself."""
    if leg.endswith(" frozen"):
        return "frozen"
    if leg.startswith(("grad_output scattered", "grad_output expanded", "inputs scattered")):
        return "layout"
    return leg if leg in {"second order", "jvp"} else "derivative"


@dataclass(frozen=True, slots=True)
class Leg:
    """One part of the examination: what it asked and how it ended."""

    name: str
    outcome: str  # "right", "wrong", "not run" or "unclear"
    why: str = ""  # why it was not run, or what was unclear
    miss: float = 0.0  # relative to the natural scale
    limit: float = 0.0


@dataclass(frozen=True, slots=True)
class GradientReport:
    """The end of one examination.

    `ok` means that nothing wrong was found; `judged` that something was examined at all.
    """

    module: str
    mode: str
    seed: int
    dtype: str = ""
    tensors: tuple[str, ...] = ()  # those whose gradient was examined
    errors: tuple[WrongGradient, ...] = ()
    legs: tuple[Leg, ...] = ()
    notes: tuple[str, ...] = ()  # what had to be done differently, and why
    forwards: int = 0
    backwards: int = 0

    @property
    def ok(self) -> bool:
        """Whether no gradient was found wrong."""
        return not self.errors

    @property
    def judged(self) -> bool:
        """Whether at least one leg came to a verdict."""
        return any(leg.outcome in {"right", "wrong"} for leg in self.legs)

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values; NaN and infinity become their names."""
        found = _jsonable(dataclasses.asdict(self))
        assert isinstance(found, dict)
        for error, plain in zip(self.errors, found["errors"], strict=True):
            plain["ratio"] = _jsonable(error.ratio)
        return {"ok": self.ok, "judged": self.judged, **found}

    def __str__(self) -> str:
        """The report as a person would read it in a terminal."""
        head = f"gradients of {self.module} ({self.mode}, {self.dtype or 'not examined'}): "
        head += (
            "right" if self.ok and self.judged else "not judged" if self.ok else f"{len(self.errors)} wrong"
        )
        lines = [head]
        for error in self.errors:
            lines.append(f"  {error.message}")
            lines += [
                f"    {list(one.index)}: {one.got:.6g}, should be {one.expected:.6g}" for one in error.worst
            ]
        lines += [f"  {leg.name}: {leg.outcome}, {leg.why}" for leg in self.legs if leg.why]
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])


def _jsonable(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    return value
