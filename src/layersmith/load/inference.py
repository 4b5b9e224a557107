"""Constructor and call, found by names, annotations, source and the errors of attempts."""

from __future__ import annotations

import bdb
import re
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn

from layersmith.load import failure
from layersmith.load.abstract import unwritten
from layersmith.load.attempt import Deadline, OutOfBudget, contained
from layersmith.load.call.repair.messages import directed_pairs, undirected_pairs
from layersmith.load.call.run import call_of
from layersmith.load.call.search import CallSearch
from layersmith.load.call.start import starts
from layersmith.load.constructor.search import (
    SMALL,
    Construction,
    ConstructorSearch,
    call_text,
    construct,
)
from layersmith.load.doubt import FAILS, doubt, is_open
from layersmith.load.lighten import Way, lighter
from layersmith.load.strategy import Failure, Found, Request
from layersmith.load.unbuildable import Unbuildable, Unbuilt
from layersmith.load.values import Call, Made
from layersmith.probe.first_batch import first_mode, has_flags
from layersmith.probe.inputs import Inputs
from layersmith.probe.modes import in_mode
from layersmith.probe.refusal import is_refusal
from layersmith.probe.slips import is_slip
from layersmith.subject import MakeInputs

_CONSTRUCTIONS = 10  # how many different constructions are called before the search gives up
_ALIKE = 3  # after how many that fail with the same words none is tried any more
_ADAPTATIONS = 4  # how many widths may be changed to those of the given inputs
_FIRST_SHARE, _LATER_SHARE = 0.5, 0.25  # of the time left: the likeliest construction gets most
_FIRST_LEAST = 8.0  # CPU seconds to call it, also where drawing its parameters took all the time


def constructions(cls: type[nn.Module], deadline: Deadline) -> Iterator[Construction]:
    """Ways to build the class, the likeliest first."""
    return ConstructorSearch(cls).constructions(deadline)


def by_inference(request: Request) -> Found | None:
    """The first construction for which a call is found (or that the given inputs fit)."""
    search = ConstructorSearch(request.cls)
    failing: Found | None = None
    first: Construction | None = None
    for count, construction in enumerate(search.constructions(request.deadline)):
        in_mode(construction.module, training=False)
        first = first or construction
        found, is_good = _found_for(request, search, construction, count)
        if found is not None and is_good:
            return found
        failing = failing or found
        search.complaints += [failure.error for failure in request.failures[-1:]]
        if count + 1 == _CONSTRUCTIONS or request.deadline.is_over or _is_settled(search.complaints):
            break
    if first is not None and failing is None and (found := _made_small(request, search, first)) is not None:
        return found
    if failing is None and not request.failures and search.unwritten:
        raise _abstract(request.cls, "constructor", search.unwritten)
    if failing is None and not request.failures and search.slip is not None:
        return _unbuilt(search)
    if not request.failures and search.errors:
        request.failures.append(Failure(call_text(search.cls, search.closest), "", search.errors[0]))
    return failing


def _made_small(request: Request, search: ConstructorSearch, first: Construction) -> Found | None:
    """A way to call a smaller one where the first took all the time; it has time of its own."""
    arguments = search.shrunk(first.arguments)
    is_slow = any(failure.error.startswith(OutOfBudget.__name__) for failure in request.failures[:1])
    if request.inputs is not None or not is_slow or arguments == first.arguments:
        return None
    anew = replace(request, deadline=Deadline.after(_FIRST_LEAST), failures=[])
    try:
        with contained(anew.deadline):
            module = in_mode(construct(search.cls, arguments), training=False)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - whatever the user's constructor raises
        return None
    small = Construction(search.cls, arguments, first.how + SMALL, module)
    found, is_good = _with_found(anew, search, small, 0)
    return found if is_good else None


def _abstract(cls: type[nn.Module], caller: str, method: str) -> Unbuildable:
    what = f"its {caller} calls {method}, which only raises NotImplementedError"
    return Unbuildable(f"{cls.__name__} is abstract: {what}")


def _is_settled(complaints: list[str]) -> bool:
    """Whether forward says the same of one construction after the other: others won't change it."""
    return len(complaints) >= _ALIKE and len(set(complaints[-_ALIKE:])) == 1


def _found_for(
    request: Request, search: ConstructorSearch, construction: Construction, count: int
) -> tuple[Found | None, bool]:
    """A way to call what was built, and whether forward works so, or fails whatever its input."""
    if request.inputs is not None:
        return _with_given(request, request.inputs, construction)
    return _with_found(request, search, construction, count)


def _with_given(request: Request, make: MakeInputs, construction: Construction) -> tuple[Found | None, bool]:
    """The construction, its widths changed to those of the inputs that the user gave."""
    text = str(request.call) if request.call is not None else "..."
    error = _error_with(make, construction, request.deadline)
    for _ in range(_ADAPTATIONS):
        if error is None:
            break
        adapted = _adapted(construction, error, request.deadline)
        if adapted is None:
            break
        construction = adapted
        error = _error_with(make, construction, request.deadline)
    built = construction
    found = Found(lambda _: built.build(), make, f"{built}({text})", built.how, built.recipe)
    if error is None:
        return found, True
    request.failures.append(Failure(str(built), text, _said(error)))
    is_as_meant = not construction.arguments  # nothing was guessed: what fails is the module
    return (found if is_as_meant else None), False


def _error_with(
    make: MakeInputs, construction: Construction, deadline: Deadline, *, training: bool = False
) -> Exception | None:
    try:
        with contained(deadline), torch.no_grad():
            make(0).call(in_mode(construction.module, training=training))
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever the user's forward raises
        return error
    return None


def _adapted(construction: Construction, error: Exception, deadline: Deadline) -> Construction | None:
    """The construction with the size that the error calls wrong set to that of the inputs."""
    for given, wanted in [*directed_pairs(str(error)), *undirected_pairs(str(error))]:
        arguments = {
            name: given if type(value) is int and value == wanted else value
            for name, value in construction.arguments.items()
        }
        if arguments == construction.arguments:
            continue
        try:
            with contained(deadline):
                module = construct(construction.cls, arguments)
        except Exception:  # noqa: BLE001, S112 - another pair may do
            continue
        return Construction(construction.cls, arguments, f"{construction.how} and the inputs", module)
    return None


def _with_found(
    request: Request, constructors: ConstructorSearch, construction: Construction, count: int
) -> tuple[Found | None, bool]:
    share = _LATER_SHARE if count else _FIRST_SHARE
    deadline = request.deadline.part(share)
    search = CallSearch(
        construction.module,
        construction.arguments,
        deadline if count else deadline.or_after(_FIRST_LEAST),
    )
    call = search.find()
    if call is not None:
        way = lighter(constructors, Way(construction, call, search.callee), request.deadline)
        construction, callee = way.construction, way.callee
        call = _in_both_modes(construction, way.call, request.deadline.part(share))
        found = _found(construction, call, construction.how, doubt(construction, call, callee))
        return replace(found, is_open=is_open(call, callee)), True
    if (begun := _begun_in_train_mode(construction, deadline)) is not None:
        return begun, True
    error = search.attempts.error
    if method := unwritten(error, type(construction.module)):
        raise _abstract(request.cls, "forward", method)
    if error is not None:
        request.failures.append(Failure(str(construction), str(search.attempts.closest), _said(error)))
    if not _is_certain(construction, count, error) or not search.fails_whatever:
        return None, False
    if _is_of_a_width(construction, search, request.deadline.part(share)):
        return None, False
    call = search.attempts.closest or call_of(search.callee, starts(search.callee)[0])
    return _found(construction, call, construction.how, FAILS), False


def _begun_in_train_mode(construction: Construction, deadline: Deadline) -> Found | None:
    """A call of what takes its first values from a batch, and refuses all in eval mode until it has: ActNorm."""
    if not has_flags(construction.module):
        return None
    search = CallSearch(in_mode(construction.module, training=True), construction.arguments, deadline)
    call = search.find()
    in_mode(construction.module, training=False)
    if call is None or not first_mode(construction.build, call.make(0)):
        return None
    return _found(construction, call, construction.how, doubt(construction, call, search.callee))


def _in_both_modes(construction: Construction, call: Call, deadline: Deadline) -> Call:
    """The call; if it fails in train mode, another that works in both, should there be one.

    One that has only another number of rows, which happens to broadcast, hides what is wrong, unless rows were refused.
    """
    error = _error_with(call.make, construction, deadline, training=True)
    if error is None:
        return call
    other = CallSearch(
        in_mode(construction.module, training=True), dict(construction.arguments), deadline
    ).find()
    is_better = other is not None and _error_with(other.make, construction, deadline) is None
    if other is not None and not is_refusal(error) and _differs_in_rows(call, other):
        return call
    return other if is_better and other is not None else call


def _differs_in_rows(one: Call, other: Call) -> bool:
    """Whether two calls give the same sizes but for the first of each input."""
    shapes = [[tuple(tensor.shape[1:]) for tensor in call.make(0).tensors()] for call in (one, other)]
    return shapes[0] == shapes[1]


def _is_certain(construction: Construction, count: int, error: Exception | None) -> bool:
    """Whether a failure is the module's own: not that of a stand-in, or of values that were varied."""
    given = [*construction.arguments.values()]
    has_stand_in = any(isinstance(value, Made | dict) for value in given)
    layers = "|".join(
        value.__name__ for value in given if isinstance(value, type) and issubclass(value, nn.Module)
    )
    is_our_layer = bool(layers) and re.match(rf"({layers})\.forward\(\) takes", str(error)) is not None
    has_slipped = error is not None and is_slip(error)
    is_first = count == 0 and not has_stand_in and not is_our_layer
    return isinstance(error, NameError | bdb.BdbQuit) or has_slipped or is_first


def _is_of_a_width(construction: Construction, search: CallSearch, deadline: Deadline) -> bool:
    """Whether layers clash because of a width that was made up: with another, nothing fails, or something else does."""
    error, closest = search.attempts.error, search.attempts.closest
    other = _adapted(construction, error, deadline) if error is not None else None
    if error is None or other is None or closest is None:
        return False
    again = _error_with(closest.make, other, deadline)
    return again is None or _lines(again) != _lines(error)


def _lines(error: Exception) -> list[int]:
    return [line for _, line in failure.frames(error)]


def _found(construction: Construction, call: Call, how: str, why: str) -> Found:
    return Found(
        lambda _: construction.build(), call.make, f"{construction}({call})", how, construction.recipe, why
    )


def _unbuilt(search: ConstructorSearch) -> Found:
    """A class whose constructor names what is nowhere, for `forward-raises` to tell."""
    cls, arguments = search.cls, search.slip or {}
    text = call_text(cls, arguments)
    return Found(
        lambda _: Unbuilt(lambda: construct(cls, arguments)),
        lambda _: Inputs(),
        text,
        "from names",
        doubt=FAILS,
    )


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:320]}"
