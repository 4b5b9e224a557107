"""An error of a call, with the arguments that it is about and the ways to change them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from layersmith.load import failure
from layersmith.load.call.callee import Callee, State
from layersmith.load.call.clue import Clue, shaped
from layersmith.load.values import TensorSpec, map_specs, specs
from layersmith.probe import source

_LARGEST = 20_000  # no dimension is set above this


@dataclass(frozen=True)
class Complaint:
    """One failed call."""

    callee: Callee
    state: State
    error: Exception

    @cached_property
    def text(self) -> str:
        """The error's message."""
        return str(self.error)

    @cached_property
    def line(self) -> str:
        """The failing statement of the user's code."""
        return failure.line_text(self.error)

    @cached_property
    def numbers(self) -> list[int]:
        """The whole numbers of the message."""
        return [int(number) for number in re.findall(r"(?<![\w.])-?\d+(?![\w.])", self.text)]

    @cached_property
    def suspects(self) -> list[str]:
        """The parameters that the message names, or else those on the failing line of forward."""
        named = [name for name in self.callee.parameters if len(name) > 2 and f"{name} " in f"{self.text} "]  # noqa: PLR2004
        if named:
            return named
        code = getattr(inspect.unwrap(source.forward(type(self.callee.module))), "__code__", None)
        return failure.names_behind(self.error, set(self.callee.parameters), code)

    @property
    def tensors(self) -> list[str]:
        """The parameters whose value has a tensor in it."""
        return [name for name, value in self.state.items() if next(specs(value), None) is not None]

    @property
    def blamed(self) -> list[str]:
        """The suspects that hold tensors, or else all that do."""
        return [name for name in self.suspects if name in self.tensors] or self.tensors

    @property
    def free_sizes(self) -> set[int]:
        """Sizes of dimensions that nothing has fixed."""
        return {
            spec.shape[i] for spec in specs(list(self.state.values())) for i in spec.free if i < spec.rank
        }

    @property
    def all_sizes(self) -> set[int]:
        """Sizes of all dimensions."""
        return {size for spec in specs(list(self.state.values())) for size in spec.shape}

    def says(self, pattern: str) -> re.Match[str] | None:
        """The first match in the message."""
        return re.search(pattern, self.text)

    def with_value(self, name: str, value: Any) -> State:
        """The state with another value for one parameter."""
        return {**self.state, name: value}

    def with_specs(
        self, function: Callable[[TensorSpec], TensorSpec], names: list[str] | None = None
    ) -> State:
        """The state with every tensor (of some parameters) replaced."""
        chosen = self.tensors if names is None else names
        changed = {name: map_specs(function, self.state[name]) for name in chosen if name in self.state}
        return {**self.state, **changed}

    def with_rank(self, rank: int, names: list[str] | None = None) -> State:
        """The state with tensors of another rank, their clues kept."""

        def change(name: str) -> Any:
            clue = self.callee.clues.get(name, Clue())
            return map_specs(lambda spec: _ranked(spec, clue, rank), self.state[name])

        chosen = self.tensors if names is None else [name for name in names if name in self.tensors]
        return {**self.state, **{name: change(name) for name in chosen}}

    def with_size(self, old: int, new: int, *, only_free: bool = True) -> Iterator[State]:
        """The state with every dimension of one size set to another; nothing if there is none."""
        if old == new or not 0 < new <= _LARGEST:
            return

        def change(spec: TensorSpec) -> TensorSpec:
            for index, size in enumerate(spec.shape):
                if size == old and (index in spec.free or not only_free):
                    spec = spec.resized(index, new)
            is_length = spec.low and spec.high == old + 1  # of the rows that have another size now
            return replace(spec, high=new + 1) if is_length else spec

        changed = self.with_specs(change)
        followed = {name: new if type(v) is int and v == old else v for name, v in changed.items()}
        if followed != self.state:
            yield followed


def _ranked(spec: TensorSpec, clue: Clue, rank: int) -> TensorSpec:
    if spec.rank == rank:
        return spec
    new = shaped(clue, rank)
    return TensorSpec(new.shape, spec.dtype, spec.high, spec.low, new.free)
