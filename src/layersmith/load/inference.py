"""Constructor and call, found by names, annotations, source and the errors of attempts."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from layersmith.load.attempt import Deadline, contained
from layersmith.load.call.run import call_of
from layersmith.load.call.search import CallSearch, is_unmendable
from layersmith.load.call.start import starts
from layersmith.load.constructor.search import Construction, ConstructorSearch, call_text
from layersmith.load.strategy import Failure, Found, Request
from layersmith.load.values import Call

_CONSTRUCTIONS = 8  # how many different constructions are called before the search gives up
_FIRST_SHARE, _LATER_SHARE = 0.5, 0.25  # of the time left: the likeliest construction gets most


def constructions(cls: type[nn.Module], deadline: Deadline) -> Iterator[Construction]:
    """Ways to build the class, the likeliest first."""
    return ConstructorSearch(cls).constructions(deadline)


def by_inference(request: Request) -> Found | None:
    """The first construction for which a call is found (or that the given inputs fit)."""
    search = ConstructorSearch(request.cls)
    for count, construction in enumerate(search.constructions(request.deadline)):
        construction.module.eval()
        found = (
            _with_given(request, construction)
            if request.inputs
            else _with_found(request, construction, count)
        )
        if found is not None:
            return found
        search.complaints += [failure.error for failure in request.failures[-1:]]
        if count + 1 == _CONSTRUCTIONS or request.deadline.is_over:
            break
    if not request.failures and search.errors:
        request.failures.append(Failure(_closest(search), "", search.errors[0]))
    return None


def _closest(search: ConstructorSearch) -> str:
    return call_text(search.cls, search.closest)


def _with_given(request: Request, construction: Construction) -> Found | None:
    make = request.inputs
    if make is None:
        return None
    text = str(request.call) if request.call is not None else "..."
    try:
        with contained(request.deadline), torch.no_grad():
            make(0).call(construction.module)
    except Exception as error:  # noqa: BLE001 - whatever the user's forward raises
        request.failures.append(Failure(str(construction), text, _said(error)))
        return None
    return Found(lambda _: construction.build(), make, f"{construction}({text})", construction.how)


def _with_found(request: Request, construction: Construction, count: int) -> Found | None:
    share = _LATER_SHARE if count else _FIRST_SHARE
    search = CallSearch(construction.module, construction.arguments, request.deadline.part(share))
    call = search.find()
    if call is not None:
        return _found(construction, call, construction.how)
    error = search.attempts.error
    if error is not None and is_unmendable(error, construction.module):
        call = call_of(search.callee, starts(search.callee)[0])
        return _found(construction, call, f"{construction.how}; forward fails whatever the input")
    if error is not None:
        request.failures.append(Failure(str(construction), str(search.attempts.closest), _said(error)))
    return None


def _found(construction: Construction, call: Call, how: str) -> Found:
    return Found(lambda _: construction.build(), call.make, f"{construction}({call})", how)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
