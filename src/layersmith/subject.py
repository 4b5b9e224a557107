"""What is examined: a recipe (Subject), and one fresh module made by it (Case)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import nn

from layersmith.probe import tree
from layersmith.probe.first_batch import first_mode, has_flags
from layersmith.probe.inputs import Inputs
from layersmith.probe.modes import in_mode
from layersmith.probe.raw import drawn
from layersmith.probe.surroundings import preserved, seed_all
from layersmith.probe.template import Template
from layersmith.promises import Contract

Build = Callable[[int], nn.Module]  # seed -> a fresh module in train mode
MakeInputs = Callable[[int], Inputs]  # seed -> inputs that the module accepts
Said = TypeVar("Said")

UNUSED = -1  # the seed of what is built with the generators as they are, and not remembered

STAND_IN = "is a stand-in"  # how a doubt ends that is about a module which Layersmith made up


@dataclass(frozen=True, slots=True)
class Construction:
    """How a module was built: the class and its arguments, so that it can be built otherwise."""

    cls: type[nn.Module]
    arguments: Mapping[str, Any]  # by the constructor's parameter; descriptions, made afresh by `make`
    make: Callable[[type[nn.Module], Mapping[str, Any]], nn.Module]
    text: str  # as in source: `Block(64, heads=4)`

    def build(self, **changes: Any) -> nn.Module:
        """A fresh module, with some arguments changed."""
        return self.make(self.cls, {**self.arguments, **changes})


@dataclass(frozen=True, slots=True)
class Subject:
    """A named recipe: how to build the module, how to call it, where its source is, what it promises."""

    name: str
    build: Build
    inputs: MakeInputs
    file: str = ""
    line: int = 0
    contract: Contract = field(default_factory=Contract)
    inferred_from: str = ""  # how it was built and called, in words or notation; "" when the user said it
    construction: Construction | None = None  # None where it is not known, as for an object the user passed
    doubt: str = ""  # why the call is but a guess: rules that depend on it have no say
    is_seeded: bool = True  # whether another seed builds another module; False for an object the user passed
    gradients: str = "quick"  # how far the gradient rules go: "quick" or "full"
    known: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def anew(self) -> nn.Module:
        """A module that is really built, under the generators as they are; a copy of an object the user passed."""
        return self.construction.build() if self.construction is not None else self.build(UNUSED)

    def otherwise(self, **changes: Any) -> Subject:
        """The same recipe with some of the constructor's arguments changed: that it can be built is not said."""
        if self.construction is None:
            raise ValueError(f"how {self.name} was constructed is not known")
        construction = replace(self.construction, arguments={**self.construction.arguments, **changes})
        return replace(self, build=copying(lambda _: construction.build()), construction=construction)

    def case(self, *, seed: int = 0, training: bool = False, dtype: torch.dtype | None = None) -> Case:
        """One fresh module with its inputs; what the user holds is never handed out."""
        with preserved(seed=seed):
            module = self.build(seed)
            inputs = self.inputs(seed)
            _materialise(module, inputs)
            if (first := self._first_mode(module)) is not None:
                with torch.no_grad():
                    inputs.call(in_mode(module, training=first))
        for part in (module, *(inputs.modules() if self.inferred_from else ())):
            in_mode(part, training=training)
        if dtype is not None:
            module, inputs = _moved(module, dtype), inputs.to(dtype)
        return Case(self, module, inputs, seed)

    def unbegun(self, *, seed: int) -> nn.Module:
        """A fresh module in eval mode as it was built, before a first batch that may initialise it."""
        with preserved(seed=seed):
            module = self.build(seed)
            _materialise(module, self.inputs(seed))
        return in_mode(module, training=False)

    def _first_mode(self, module: nn.Module) -> bool | None:
        """The mode of a first call that initialises its modules, before which nothing can be asked; None without one."""
        if first_mode not in self.known:
            is_asked = has_flags(module)
            self.known[first_mode] = first_mode(lambda: self.build(0), self.inputs(0)) if is_asked else None
        said: bool | None = self.known[first_mode]
        return said


@dataclass(frozen=True, slots=True)
class Case:
    """One fresh module plus inputs, at one seed; a rule may do with it what it likes."""

    subject: Subject
    module: nn.Module
    inputs: Inputs
    seed: int

    def run(self, inputs: Inputs | None = None, *, seed: int | None = None) -> Any:
        """The module's output on a copy of the inputs, under the case's seed or another."""
        with preserved(seed=self.seed if seed is None else seed):
            return (inputs or self.inputs).call(self.module)

    def error(self, inputs: Inputs) -> Exception | None:
        """What a call with these inputs raises; None where it works."""
        try:
            self.run(inputs)
        except Exception as error:  # noqa: BLE001 - that it raises is what is asked
            return error
        return None

    def run_fresh(self, inputs: Inputs) -> Any:
        """The output of another module, which no call before can have changed."""
        return self.fresh().run(inputs)

    def fresh(
        self, *, seed: int | None = None, training: bool = False, dtype: torch.dtype | None = None
    ) -> Case:
        """Another case of the same subject: a new module, by default at the same seed."""
        return self.subject.case(seed=self.seed if seed is None else seed, training=training, dtype=dtype)

    def once(self, ask: Callable[[Case], Said]) -> Said:
        """What a function says of a fresh case at this seed: asked once, for all rules of a run.

        What it says must be immutable and hold no tensor, so that no rule can disturb another.
        """
        known = self.subject.known
        if (ask, self.seed) not in known:
            known[ask, self.seed] = ask(self.fresh())
        said: Said = known[ask, self.seed]
        return said


def _moved(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The module in a dtype; its complex numbers, of which `.to` would lose a part, in the one that goes with it."""
    if not any(tensor.is_complex() for tensor in (*module.parameters(), *module.buffers())):
        return module.to(dtype)
    module._apply(partial(tree.as_precise, dtype=dtype))  # noqa: SLF001 - what `.to` and `.double` do
    return module


def _materialise(module: nn.Module, inputs: Inputs) -> None:
    """Let lazy parameters take their shapes from the inputs: nothing can be asked of them before."""
    if any(nn.parameter.is_lazy(tensor) for tensor in (*module.parameters(), *module.buffers())):
        with torch.no_grad():
            inputs.call(in_mode(module, training=False))


def copying(build: Build) -> Build:
    """Remember the first module of each seed and hand out deep copies: construction can be slow.

    A module that refuses to be copied is built anew each time (that it refuses is a rule's business).
    """
    originals: dict[int, Template] = {}

    def build_copy(seed: int) -> nn.Module:
        if seed == UNUSED:
            return build(seed)
        if seed not in originals:
            originals[seed] = Template(drawn(partial(build, seed), seed=seed))
        try:
            return originals[seed].copy()
        except Exception:  # noqa: BLE001 - any failure to copy means: build
            seed_all(seed)
            return drawn(partial(build, seed), seed=seed)

    return build_copy
