"""What the command line's process asks, and what it is told."""

from __future__ import annotations

from dataclasses import dataclass, field

from layersmith.config import Config
from layersmith.isolation import Confinement
from layersmith.load.lock import Lock
from layersmith.load.target import Target
from layersmith.report import SubjectReport


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line wants: one verb on some targets."""

    verb: str
    targets: tuple[Target, ...]
    rules: tuple[str, ...]  # ids; what they need first is added
    inputs: str = ""  # notation; "" to find them
    settings: Config = field(default_factory=Config)
    seed: int = 0
    compiles: bool = False  # whether the compiler is worth warming before the first fork
    lock: Lock | None = None
    scratch: str = ""  # the folder in which the code may write


@dataclass(frozen=True, slots=True)
class Class:
    """One class of a target."""

    index: int  # among those of its target
    name: str
    place: tuple[str, str]  # its file and qualified name: the same class has the same place in every target


@dataclass(frozen=True, slots=True)
class Found:
    """The classes of one target, before any is examined."""

    target: Target
    classes: tuple[Class, ...]


@dataclass(frozen=True, slots=True)
class Reported:
    """One class of a target, examined."""

    target: Target
    index: int  # among the classes found
    report: SubjectReport


@dataclass(frozen=True, slots=True)
class Imported:
    """Parts of torch that a class's process had to import: its parent does so too, for the sake of the next."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """A target that could not be imported, or in which there is no class."""

    target: Target
    why: str
    is_empty: bool = False


@dataclass(frozen=True, slots=True)
class Confined:
    """What the code is kept from."""

    confinement: Confinement
