"""A constructor's options, tried one at a time and then two together: what building, calling and going backward raise."""

from __future__ import annotations

import inspect
import itertools
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from layersmith.load.attempt import Deadline, OutOfBudget, contained
from layersmith.load.call.repair.messages import directed_pairs
from layersmith.load.constructor import fields
from layersmith.load.failure import misses_one
from layersmith.load.otherwise import builds_with_sizes, emptied, error_of, may_work_otherwise, other_widths
from layersmith.probe import batch, options, refusal, sides, source, tree
from layersmith.probe.inputs import Inputs
from layersmith.probe.modes import in_mode
from layersmith.probe.options import Option
from layersmith.subject import Case, Construction

SLIPS = (NameError, AttributeError)
SEARCH = 0.75  # of the time left, for calls that may work with one option
QUICK = 0.3  # seconds of CPU for building and calling, above which a smaller module is asked
LARGE = 4_000_000  # parameters, which take as long to draw
ROWS = 2
LARGER = (8, 5)  # rows and columns more
# What sizes and ranks that were guessed run into.
OURS = re.compile(  # of another rank or structure than the guess has
    "negative dimension|number of subscripts in the equation|too many indices for tensor|"
    "'(tuple|list)' object has no attribute|following scalar types: Long|dimension 0 with size 0"
)
IN_PLACE = ("inplace operation", "in-place operation", "modified inplace")
MADE_FOR = (options.RECTANGLE, options.SPACE)  # options that bring their own inputs
BUILDING, CALLING, BACKWARD = "the constructor", "forward", "backward"


@dataclass(frozen=True, slots=True)
class Failed:
    """What went wrong with one option, or with two."""

    options: tuple[Option, ...]
    where: str  # BUILDING, CALLING or BACKWARD
    error: Exception


class Trials:
    """The options of one construction, and the time for them."""

    def __init__(self, case: Case, construction: Construction, deadline: Deadline) -> None:
        self.case, self.construction, self.inputs, self.deadline = case, construction, case.inputs, deadline
        self.is_guess = bool(case.subject.inferred_from)
        self.fields = fields.fields(construction.cls, construction.arguments)

    def failures(self, pairs: Deadline) -> Iterator[Failed]:
        """Those of single options, all built before any is called; then of two flags or choices that work alone."""
        self._make_quick()
        sound = []
        for option in options.options(self.construction.cls, self._given(), [*self.fields]):
            failed, module = self._built((option,))
            if failed is not None and option.why != options.LEAST:
                yield failed
            elif module is not None:
                sound.append(option)
        working: list[Option] = []
        for option in sound:
            found = _is_worth_trying(option, working) and self._tried((option,))
            if isinstance(found, Failed):
                yield found
            elif found:
                working.append(option)
        for both in _pairs(working):
            if pairs.is_over or self.deadline.is_over:
                return
            if isinstance(found := self._tried(both), Failed):
                yield found

    def choices(self) -> Iterator[tuple[Option, nn.Module]]:
        """The modules with another flag or choice, of those that can be built and called."""
        self._make_quick()
        for option in options.options(self.construction.cls, self._given(), [*self.fields]):
            module = self._built((option,))[1] if option.is_choice and not self.deadline.is_over else None
            if module is not None:
                yield option, module

    def _given(self, chosen: tuple[Option, ...] = ()) -> dict[str, Any]:
        """The arguments and, beside them, the fields of configs, with these options."""
        read = {field.name: value for field, value in self.fields.items()}
        return {**self.construction.arguments, **read, **_changes(chosen)}

    def _arguments(self, chosen: tuple[Option, ...]) -> dict[str, Any]:
        """What is given to the constructor in another way with these options."""
        return fields.changed(self.construction.cls, self.construction.arguments, _changes(chosen))

    def _make_quick(self) -> None:
        """Fewer layers and rows where the class is slow, if it works with them: options are then asked of that."""
        before = time.process_time()
        is_large = sum(one.numel() for one in self.case.module.parameters()) > LARGE
        if (
            not is_large
            and self._works(self.construction, self.inputs)
            and time.process_time() - before < QUICK
        ):
            return
        cls, arguments = self.construction.cls, self.construction.arguments
        fewer = fields.changed(cls, arguments, options.of_one_layer(cls, self._given()))
        construction = replace(self.construction, arguments={**arguments, **fewer})
        rows = batch.axes(self.case.module, self.inputs)[:1] or [0]
        are_many = batch.batch_size(self.inputs, rows[0]) > ROWS
        inputs = batch.take(self.inputs, ROWS, axis=rows[0]) if are_many else self.inputs
        if self._works(construction, inputs):
            self.construction, self.inputs = construction, inputs
            self.fields = fields.fields(cls, construction.arguments)

    def _works(self, construction: Construction, inputs: Inputs) -> bool:
        try:
            with contained(self.deadline):
                module = construction.build()
        except Exception:  # noqa: BLE001 - then it stays as it was
            return False
        return error_of(in_mode(module, training=False), inputs, self.deadline, seed=self.case.seed) is None

    def _built(self, chosen: tuple[Option, ...]) -> tuple[Failed | None, nn.Module | None]:
        """A module with these options, or what its constructor raises that is no refusal of them."""
        if self.deadline.is_over:
            return None, None
        arguments, given = self._arguments(chosen), self._given(chosen)
        try:
            with contained(self.deadline):
                return None, self.construction.build(**arguments)
        except OutOfBudget:
            return None, None
        except Exception as error:  # noqa: BLE001 - whatever the constructor raises
            is_side = chosen[0].why == options.RECTANGLE and isinstance(error, TypeError)
            is_theirs = is_side or self._is_refused(chosen, error)
            is_theirs = is_theirs or builds_with_sizes(self.construction, arguments, given, self.deadline)
            return None if is_theirs else Failed(chosen, BUILDING, error), None

    def _tried(self, chosen: tuple[Option, ...]) -> Failed | bool:
        """What fails with these options; or whether it is seen that nothing does."""
        failed, module = self._built(chosen)
        inputs = self._inputs(chosen[0])
        if module is None or inputs is None:
            return failed or False
        for training in (False, True):
            raised = error_of(in_mode(module, training=training), inputs, self.deadline, seed=self.case.seed)
            if raised is not None:
                if wider := self._of_equal_widths(chosen, raised):
                    return self._tried(wider)
                is_excused = _is_of_no_kernel(chosen[0], module, raised) or (
                    self._of_larger(chosen, module) is None and self._is_excused(chosen, module, raised)
                )
                return not is_excused and Failed(chosen, CALLING, raised)
        if chosen[0].why == options.LEAST and (nothing := emptied(module, inputs, self.deadline)):
            return Failed(chosen, CALLING, nothing)
        raised = self._of_rectangle(chosen, module) or self._of_larger(chosen, module)
        if raised is not None:
            return Failed(chosen, CALLING, raised)
        raised = self._backward(module, inputs)
        return Failed(chosen, BACKWARD, raised) if raised is not None else not self.deadline.is_over

    def _inputs(self, option: Option) -> Inputs | None:
        """Those that suit an option; None where that is not known."""
        if option.why == options.ODD:
            return None
        if option.why == options.RECTANGLE:
            return sides.stretched(self.inputs, option.value)
        if option.why == options.SPACE:
            return sides.of_axes(self.inputs, option.value)
        return self.inputs

    def _of_rectangle(self, chosen: tuple[Option, ...], module: nn.Module) -> Exception | None:
        """What a module raises of images that are no squares, where a size was given that is now left open."""
        wide = sides.rectangle(self.inputs) if chosen[0].value is None and len(chosen) == 1 else None
        if wide is None or not self._works(self.construction, wide):
            return None
        raised = error_of(module, wide, self.deadline, seed=self.case.seed)
        return None if raised is None or self._is_refused(chosen, raised) else raised

    def _of_larger(self, chosen: tuple[Option, ...], module: nn.Module) -> Exception | None:
        """What a module with another kernel raises of larger images, which the usual one takes: it ties their sides."""
        larger = sides.grown(self.inputs, *LARGER) if chosen[0].why == options.KERNELS else None
        if larger is None or not self._works(self.construction, larger):
            return None
        raised = error_of(in_mode(module, training=False), larger, self.deadline, seed=self.case.seed)
        is_told = raised is not None and (refusal.is_too_small(raised) or source.is_refusal(raised, module))
        return None if is_told else raised

    def _backward(self, module: nn.Module, inputs: Inputs) -> Exception | None:
        """That of a gradient which an operation in place has made impossible."""
        try:
            with contained(self.deadline, seed=self.case.seed), torch.enable_grad():
                outputs = tree.tensors(inputs.call(in_mode(module, training=True)))
                sums = [one.real.sum() for one in outputs if one.requires_grad]
                if sums:
                    torch.stack([one.float() for one in sums]).sum().backward()
        except OutOfBudget:
            return None
        except Exception as error:  # noqa: BLE001 - only one kind is told
            return error if any(text in str(error) for text in IN_PLACE) else None
        return None

    def _is_refused(self, chosen: tuple[Option, ...], error: Exception) -> bool:
        cls, usual, given = self.construction.cls, self._given(), self._given(chosen)
        return (
            refusal.is_refusal(error)
            or refusal.is_optional(error)
            or (self.is_guess and (refusal.asks_a_class(error) or refusal.takes_lists_too(cls)))
            or (self.is_guess and bool(OURS.search(str(error))))
            or (self.is_guess and misses_one(error, self.case.module, self.inputs))
            or any(refusal.wants_another(cls, given, option.name, error) for option in chosen)
            or any(refusal.runs_off(cls, usual, option.name, error) for option in chosen)
            or any(refusal.wants_a_dtype(option.name, error) for option in chosen)
            or any(one.value is None and refusal.is_placeholder(one.name, error) for one in chosen)
        )

    def _is_excused(self, chosen: tuple[Option, ...], module: nn.Module, error: Exception) -> bool:
        """Whether a call refuses, wants what another argument would have given, or may want other inputs."""
        given = {**self.construction.arguments, **self._arguments(chosen)}
        if self._is_refused(chosen, error) or self._wants_equal_widths(chosen, error):
            return True
        is_missing = isinstance(error, SLIPS) and "NoneType" not in str(error)
        is_slip = is_missing or chosen[0].why in MADE_FOR
        is_unasked = (
            chosen[0].why == options.OWN and "out" not in chosen[0].name and self._has_more_inputs(module)
        )
        if not is_slip and (is_unasked or self.case.subject.doubt or self._works_padded(given)):
            return True
        if self.is_guess and self._works_as_wide(given, error):
            return True
        return not is_slip and may_work_otherwise(
            module, self.inputs, given, error, self.deadline.part(SEARCH), is_guess=self.is_guess
        )

    def _works_as_wide(self, given: Mapping[str, Any], error: Exception) -> bool:
        """Whether another width, which is an argument as well, fits what an option leaves of the features.

        Or that of an input.
        """
        for got, wanted in directed_pairs(str(error)):
            for name in [n for n, value in given.items() if type(value) is int and value > abs(got - wanted)]:
                if self._works(
                    replace(self.construction, arguments={**given, name: given[name] + got - wanted}),
                    self.inputs,
                ):
                    return True
        as_given = replace(self.construction, arguments=given)
        return any(self._works(as_given, one) for one in other_widths(self.inputs, given, error))

    def _has_more_inputs(self, module: nn.Module) -> bool:
        """Whether forward takes inputs that the call leaves out: another width is that of keys, not of queries."""
        taken = [*inspect.signature(module.forward).parameters.values()]
        left = [one for one in taken[len(self.inputs.args) :] if one.name not in self.inputs.kwargs]
        return any(one.default is None for one in left)

    def _works_padded(self, given: Mapping[str, Any]) -> bool:
        """Whether a guess at a padding was for what an option changes: `causal=True` wants it all on one side."""
        pads = {
            name: 2 * value for name, value in given.items() if "pad" in name and type(value) is int and value
        }
        wider = replace(self.construction, arguments={**given, **pads})
        return self.is_guess and bool(pads) and self._works(wider, self.inputs)

    def _wants_equal_widths(self, chosen: tuple[Option, ...], error: Exception) -> bool:
        cls, given = self.construction.cls, self._given(chosen)
        return any(refusal.wants_equal_widths(cls, given, option.name, error) for option in chosen)

    def _of_equal_widths(self, chosen: tuple[Option, ...], error: Exception) -> tuple[Option, ...]:
        """The same options with outputs as wide as inputs, where a shortcut asks for that; () elsewhere."""
        if chosen[0].beside or not self._wants_equal_widths(chosen, error):
            return ()
        equal = refusal.equal_widths(self.construction.cls, self._given())
        return (replace(chosen[0], beside=equal), *chosen[1:])


def _changes(chosen: tuple[Option, ...]) -> Mapping[str, Any]:
    return {name: value for option in chosen for name, value in option.changes.items()}


def _is_of_no_kernel(option: Option, module: nn.Module, error: Exception) -> bool:
    """Whether a kernel or a stride became 0, as half of the least one does: nobody has such a network."""
    kernels = (getattr(part, "kernel_size", None) for part in nn.Module.modules(module))
    is_nothing = any(isinstance(one, tuple) and 0 in one for one in kernels)
    return option.why == options.LEAST and (is_nothing or isinstance(error, ZeroDivisionError))


def _is_worth_trying(option: Option, working: list[Option]) -> bool:
    """Whether it is not the least kernel of those of which no other works."""
    return option.why != options.LEAST or any(option.name == other.name for other in working)


def _pairs(working: list[Option]) -> Iterator[tuple[Option, Option]]:
    """Two flags or choices at a time, of different arguments."""
    chosen = [option for option in working if option.is_choice]
    return (both for both in itertools.combinations(chosen, 2) if both[0].name != both[1].name)
