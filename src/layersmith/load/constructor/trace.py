"""What is known of the use of one constructor parameter, or of a part of it."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Usage:
    """The traces of one parameter, or of a part of it."""

    kinds: set[str] = field(default_factory=set)  # sequence, dict, callable, number, module, tensor, flag
    length: int = 0  # of a sequence that is unpacked
    strings: list[str] = field(default_factory=list)  # what it is compared with
    attributes: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    passed_as: list[inspect.Parameter] = field(
        default_factory=list
    )  # parameters of other callables that it becomes
    item: Usage | None = None  # of one of its items, as a loop sees it
    parts: list[Usage] = field(
        default_factory=list
    )  # of what its items are unpacked into: `for n, d in sizes`
    fields: dict[str, Usage] = field(default_factory=dict)  # of its attributes and keys
    default: Any = inspect.Parameter.empty  # where it may be missing: `getattr(config, "layers", 1)`
    made: Usage | None = None  # of what it returns without arguments: `self.features = make()`
    is_a: type | None = None  # the module class that it is asked to be: `assert isinstance(layers, Layers)`
    # How many tensors each part of what it returns has: `y, (h, c) = self.rnn(x)`.
    outputs: tuple[int, ...] = ()

    @property
    def is_flag(self) -> bool:
        """Whether nothing is done with it but to ask whether it is true."""
        return self.kinds == {"flag"} and not (self.passed_as or self.strings or self.attributes or self.keys)

    def one(self) -> Usage:
        """The trace of one of its items."""
        self.item = self.item or Usage()
        return self.item

    def result(self) -> Usage:
        """The trace of what it returns."""
        self.made = self.made or Usage()
        return self.made

    def part(self, index: int) -> Usage:
        """The trace of one of the parts into which an item is unpacked."""
        self.parts += [Usage() for _ in range(index + 1 - len(self.parts))]
        return self.parts[index]

    def take(self, other: Usage) -> None:
        """The traces of the other as well, which stays as it is: it may be another class's."""
        self.kinds |= other.kinds
        self.length = max(self.length, other.length)
        self.strings += other.strings
        self.attributes |= other.attributes
        self.keys |= other.keys
        self.passed_as += other.passed_as
        if other.item is not None:
            self.one().take(other.item)
        for index, part in enumerate(other.parts):
            self.part(index).take(part)
        if other.made is not None:
            self.result().take(other.made)
        for name, field_of_other in other.fields.items():
            self.fields.setdefault(name, Usage()).take(field_of_other)
        self.outputs, self.is_a = self.outputs or other.outputs, self.is_a or other.is_a
        self.default = other.default if self.default is inspect.Parameter.empty else self.default
