"""The search for a call: first guesses, repaired after each error, until the module returns a tensor."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from layersmith.load.attempt import Deadline, OutOfBudget
from layersmith.load.call.alike import fails_alike
from layersmith.load.call.batched import ranks_without_batch
from layersmith.load.call.callee import Callee, State
from layersmith.load.call.clue import BATCH, PRIMES
from layersmith.load.call.kept import Kept
from layersmith.load.call.loss import is_loss
from layersmith.load.call.repair import repaired
from layersmith.load.call.repair.complaint import Complaint
from layersmith.load.call.repair.messages import directed_pairs
from layersmith.load.call.run import call_of, is_blank, is_useful, output_of, rows_are_apart, trains
from layersmith.load.call.sides import Sides
from layersmith.load.call.sized import as_written
from layersmith.load.call.start import starts
from layersmith.load.call.verdict import (
    clashes,
    essence,
    is_unmendable,
    meets_its_own_doubles,
    progress,
)
from layersmith.load.constructor.names import WIDTH
from layersmith.load.values import Call, TensorSpec, map_specs, specs
from layersmith.probe import tree

_TRIES, _TRIES_A_START, _DEEPEST, _UNCHANGED = 140, 25, 14, 12
_MATRIX = 2
_GRACE = 10.0  # CPU seconds at least for what is known to work: large images take their time


@dataclass(slots=True)
class Attempts:
    """What a search has tried, for the hint that is given when nothing worked."""

    closest: Call | None = None
    error: Exception | None = None  # of the closest attempt
    errors: list[Exception] = field(default_factory=list)
    inputs: list[list[TensorSpec]] = field(default_factory=list)  # of each


class CallSearch:
    """One module's search."""

    def __init__(self, module: nn.Module, arguments: dict[str, Any], deadline: Deadline) -> None:
        self.callee = Callee.of(module, arguments)
        self.deadline = deadline
        self.attempts = Attempts()
        self.seen: set[str] = set()
        self.unchanged = 0
        self.kept = Kept.of(module)
        self.sides = Sides(self._met)

    def find(self) -> Call | None:
        """A call that returns a tensor, in train mode, too, if there is one; None if none was found in time."""
        is_one_of_many = is_loss(self.callee)  # pairs of shapes that have nothing to do with each other
        found: State | None = None
        given: set[str] = set()
        built = self.callee.dry_run
        if built is not None and self._works(built) and trains(self.callee, built, self.deadline):
            return call_of(self.callee, self._canonical(built))
        guesses = starts(self.callee)
        if (written := as_written(self.callee, guesses[0])) and not self._works(guesses[0]):
            guesses = [*written, *guesses]
        for start in guesses:
            if is_one_of_many or given != {*start}:  # more inputs may help where no other size did
                self.unchanged, given = 0, {*start}
            elif self._is_over():
                continue
            state = self._from(start)
            if state is not None and trains(self.callee, state, self.deadline):
                return call_of(self.callee, self._canonical(state))
            found = found or state
            if self._are_rows_mixed() and not self.deadline.is_over:
                self.unchanged = 0  # another rank may help, though no other size did
            if self._is_hopeless():
                break
        return None if found is None else call_of(self.callee, self._canonical(found))

    def _are_rows_mixed(self) -> bool:
        """Whether a layer took the rows of several inputs for its features, of which no size of an input tells."""
        pairs = [*directed_pairs(str(self.attempts.errors[-1]))] if self.attempts.errors else []
        return self.unchanged >= _UNCHANGED and any(given in (BATCH, 2 * BATCH) for given, _ in pairs)

    def _from(self, start: State) -> State | None:
        """Depth first from one guess along its repairs."""
        stack, tries = [(start, 0)], 0
        while stack and tries < _TRIES_A_START and not self._is_over():
            state, depth = stack.pop(0)
            if repr(state) in self.seen:
                continue
            self.seen.add(repr(state))
            tries += 1
            error = self._error(state)
            if error is None:
                return state
            if isinstance(error, OutOfBudget):
                return None
            ways = repaired(Complaint(self.callee, state, error)) if depth < _DEEPEST else []
            if fitting := [*self.sides.fitting(state, error)]:
                self.deadline = self.deadline.or_after(_GRACE)
            ways = [*fitting, *ways]
            if clashes(error, [*specs([*state.values()])], self.callee.widths):
                self.unchanged = _UNCHANGED
                return None
            stack[:0] = [(other, depth + 1) for other in ways]
            self._count_unchanged(error, state)
        return None

    def _count_unchanged(self, error: Exception, state: State) -> None:
        """The same words whatever the input: after some of them it is clear that no input helps."""
        earlier = self.attempts.errors[-2:-1]
        is_same = bool(earlier) and essence(earlier[0]) == essence(error)
        free = {spec.shape[index] for spec in specs(list(state.values())) for index in spec.free}
        is_inner = any(given not in free for given, _ in directed_pairs(str(error)))  # a size of no input
        self.unchanged = self.unchanged + 1 + is_inner if is_same else 0

    def _error(self, state: State) -> Exception | None:
        error = self._met(state)
        if error is not None:
            self._remember(state, error)
        return error

    def _met(self, state: State) -> Exception | None:
        """The error of the call, or that nothing useful is returned."""
        try:
            output = output_of(self.callee, state, self.deadline)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the user's forward raises
            return error
        finally:
            self.kept.restore()
        said = f"forward returned {type(output).__name__}, no tensor"
        return None if is_useful(output) else TypeError(said)

    def _remember(self, state: State, error: Exception) -> None:
        """The closest attempt is the one that came furthest into forward."""
        self.attempts.errors.append(error)
        self.attempts.inputs.append([*specs(list(state.values()))])
        if self.attempts.error is None or progress(error) > progress(self.attempts.error):
            self.attempts.closest = call_of(self.callee, state)
            self.attempts.error = error

    def _canonical(self, state: State) -> State:
        """The same call as people make it: enough features for statistics, finite outputs, rows apart."""
        wide = {name: map_specs(_widened, value) for name, value in state.items()}
        state = wide if wide != state and self._works(wide) else state
        try:
            state = self._finite(self._batched(self._as_high(self._of_several(self._filled(state)))))
            return self._with_rows_apart(self._with_steps(state))
        except Exception:  # noqa: BLE001 - out of time, or an output that can't be looked at: the call as it was found
            return state

    def _of_several(self, state: State) -> State:
        """A batch where a layer was given a single item of the main input's rank."""
        main = next(iter(state.values()), None)
        if not isinstance(main, TensorSpec) or not main.dtype.is_floating_point:
            return state
        if main.rank not in ranks_without_batch(self.callee, state, self.deadline):
            return state
        beside = [
            n for n, value in state.items() if isinstance(value, TensorSpec) and value.rank == main.rank
        ]
        complaint = Complaint(self.callee, state, Exception())
        for names in (beside, beside[:1]):
            found = self._from(complaint.with_rank(main.rank + 1, names))
            if found is not None:
                return found
        return state

    def _as_high(self, state: State) -> State:
        """A sequence for a matrix whose output has a dimension more: it was broadcast along one of the module's own."""
        name, main = next(iter(state.items()), ("", None))
        if not isinstance(main, TensorSpec) or main.rank != _MATRIX or not main.dtype.is_floating_point:
            return state
        longer = {**state, name: _sequence_of(main)}
        is_higher = all(self._rank_of_output(one) == _MATRIX + 1 for one in (state, longer))
        return longer if is_higher else state

    def _rank_of_output(self, state: State) -> int:
        """Of its first tensor; 0 where it has none, or the call fails."""
        try:
            output = output_of(self.callee, state, self.deadline)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - whatever the user's forward raises
            return 0
        return next((tensor.ndim for tensor in tree.tensors(output)), 0)

    def _batched(self, state: State) -> State:
        """The usual batch where an attempt to please an error changed it; or rows without what lies beside them."""
        main = next(specs(list(state.values())), None)
        if main is None or main.rank < _MATRIX or (old := main.shape[0]) != main.shape[1]:
            return state
        rows = {name: map_specs(lambda spec: _with_batch(spec, old), value) for name, value in state.items()}
        first = next(name for name, value in state.items() if next(specs(value), None) is not None)
        is_high = main.rank > _MATRIX and len(state) == 1 and isinstance(state[first], TensorSpec)
        lower = {first: TensorSpec((BATCH, *main.shape[2:]), main.dtype, main.high)} if is_high else state
        others = (rows, {**state, first: rows[first]}, lower)  # rows alone, where no others go beside them
        return next((other for other in others if other != state and self._works(other)), state)

    def _filled(self, state: State) -> State:
        """Longer inputs where nothing is left of them: a `Chomp1d(32)` of 32 steps."""
        name, main = next(iter(state.items()), ("", None))
        if not isinstance(main, TensorSpec) or not self._is_empty(state):
            return state
        longer = (
            {**state, name: main.resized(axis, 2 * main.shape[axis], fix=False)}
            for axis in sorted(main.free - {0}) or range(1, main.rank)
        )
        return next((one for one in longer if self._works(one) and not self._is_empty(one)), state)

    def _is_empty(self, state: State) -> bool:
        return not any(
            tensor.numel() for tensor in tree.tensors(output_of(self.callee, state, self.deadline))
        )

    def _finite(self, state: State) -> State:
        """Positive numbers where others give NaN."""
        if tree.is_finite(output_of(self.callee, state, self.deadline)):
            return state
        positive = {name: map_specs(_positive, value) for name, value in state.items()}
        is_better = self._works(positive) and tree.is_finite(output_of(self.callee, positive, self.deadline))
        return positive if is_better else state

    def _with_rows_apart(self, state: State) -> State:
        """A sequence for a matrix whose rows mix (attention over the batch), if the sequences do not mix."""
        name = next(iter(state), "")
        main = state.get(name)
        if not isinstance(main, TensorSpec) or main.rank != _MATRIX or self.callee.clues[name].rank:
            return state
        if len(self.callee.required) > 1 or rows_are_apart(self.callee, state, self.deadline):
            return state
        longer = {name: replace(_sequence_of(main), free=main.free)}
        return longer if self._works(longer) and rows_are_apart(self.callee, longer, self.deadline) else state

    def _with_steps(self, state: State) -> State:
        """Steps for channels that are normalised each by itself: of one number nothing remains."""
        name = next(iter(state), "")
        main = state.get(name)
        if not isinstance(main, TensorSpec) or main.rank != _MATRIX or self.callee.clues[name].rank:
            return state
        if len(self.callee.required) > 1 or not is_blank(output_of(self.callee, state, self.deadline)):
            return state
        longer = {name: TensorSpec((*main.shape, PRIMES[0]), main.dtype, main.high, free=main.free)}
        is_better = self._works(longer) and not is_blank(output_of(self.callee, longer, self.deadline))
        return longer if is_better else state

    def _works(self, state: State) -> bool:
        return self._error(state) is None

    def _is_over(self) -> bool:
        return len(self.seen) >= _TRIES or self.deadline.is_over or self.unchanged >= _UNCHANGED

    @property
    def fails_whatever(self) -> bool:
        """Whether forward fails for a reason that lies in the code, not in the inputs tried."""
        error = self.attempts.error
        if error is None:
            return False
        module = self.callee.module
        is_own = is_unmendable(error, module) or meets_its_own_doubles(error, module)
        tried, arguments = self.attempts.inputs, self.callee.arguments.values()
        is_guess = any(value is nn.Identity for value in arguments)  # for a class of blocks
        return is_own or (not is_guess and fails_alike(self.attempts.errors, tried, error, arguments))

    def _is_hopeless(self) -> bool:
        """Whether forward fails for a reason that no input mends: a name or attribute that is not there."""
        return all(is_unmendable(error, self.callee.module) for error in self.attempts.errors)


def _sequence_of(matrix: TensorSpec) -> TensorSpec:
    """Of so many features, with the usual batch and length."""
    return TensorSpec((BATCH, PRIMES[0], matrix.shape[-1]), matrix.dtype, matrix.high, free=frozenset({0, 1}))


def _widened(spec: TensorSpec) -> TensorSpec:
    """A matrix whose features nothing has fixed gets as many as a layer has."""
    last = spec.rank - 1
    is_open = spec.rank in (2, 3) and {1, last} <= spec.free and spec.shape[last] < WIDTH
    return spec.resized(last, WIDTH, fix=False) if is_open and spec.dtype.is_floating_point else spec


def _with_batch(spec: TensorSpec, old: int) -> TensorSpec:
    return spec.resized(0, BATCH, fix=False) if spec.rank and spec.shape[0] == old else spec


def _positive(spec: TensorSpec) -> TensorSpec:
    return replace(spec, high=1) if spec.dtype is torch.float32 and not spec.high else spec
