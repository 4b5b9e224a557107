"""The interface of every way to build and call a class: a Request goes in, Found or nothing comes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import nn

from layersmith.load.attempt import Deadline
from layersmith.load.values import Call
from layersmith.subject import Build, Construction, MakeInputs


@dataclass(slots=True)
class Said:
    """What was said of a class before: notations `Block(64)(f32[2,64])`, and which of them is wanted."""

    hints: tuple[str, ...] = ()  # by the user, in the settings
    locked: tuple[str, ...] = ()  # by an earlier search, in the lock file
    number: int = 0
    source: str = "layersmith.lock"  # of what is locked: a search that just ended says how it found it
    doubt: str = ""  # why what is locked was but a guess
    misfits: list[str] = field(default_factory=list)  # why what was locked no longer fits


@dataclass(slots=True)
class Request:
    """A class to build and call, and what became known of it on the way."""

    cls: type[nn.Module]
    deadline: Deadline
    call: Call | None = None  # inputs in notation
    inputs: MakeInputs | None = None  # inputs that the user said, in whatever form
    failures: list[Failure] = field(default_factory=list)  # the closest attempts
    said: Said = field(default_factory=Said)
    may_run_examples: bool = (
        False  # whether documentation and scripts may be executed: the process is confined
    )


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt that did not work: the constructor's text, the call's, and the error."""

    construction: str
    call: str
    error: str


@dataclass(frozen=True, slots=True)
class Found:
    """A way to build and call a class."""

    build: Build
    inputs: MakeInputs
    notation: str  # paste-ready: `Block(64, heads=4)(f32[2,16,64])`
    how: str  # "from example()", "from names"
    construction: Construction | None = None
    doubt: str = ""  # why the call is but a guess; "" where the source or a real call confirms it
    is_open: bool = False  # nothing in the class says how many dimensions its input has

    @property
    def size(self) -> int:
        """How many numbers there are in parameters and inputs."""
        tensors = [*self.build(0).parameters(), *self.inputs(0).tensors()]
        return sum(tensor.numel() for tensor in tensors)


Strategy = Callable[[Request], Found | None]
