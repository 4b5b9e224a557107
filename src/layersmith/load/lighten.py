"""A smaller module of a class that is heavy as it was first built: a hundred questions are then asked of that one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from layersmith.load.attempt import Deadline, contained
from layersmith.load.call.callee import Callee
from layersmith.load.call.search import CallSearch
from layersmith.load.constructor.names import WIDTH
from layersmith.load.constructor.repair import Arguments
from layersmith.load.constructor.search import SMALL, Construction, ConstructorSearch
from layersmith.load.values import Call, specs
from layersmith.probe import options, tree

# What a module costs, in floating-point operations. Counted, not timed: a search ends the same way each time.
ENOUGH = 2_000_000_000  # about a tenth of a second
_DRAWN = 400  # for a parameter, which every rule draws or copies anew
_TOUCHED = 20  # for a number that a function returns
_PRODUCTS = {"matmul", "bmm", "baddbmm"}
_WEIGHTED = {"linear", "conv1d", "conv2d", "conv3d"}
_SHARE = 0.5  # of the time left, for it all
_WORTH = 0.75  # of the work: less of a change is none
_HALVINGS = 2


@dataclass(frozen=True, slots=True)
class Way:
    """A module, and a call of it that works."""

    construction: Construction
    call: Call
    callee: Callee

    def work(self, deadline: Deadline) -> int:
        """Roughly how many operations building and calling it takes."""
        module = self.construction.module
        drawn = sum(one.numel() * (2 if one.is_complex() else 1) for one in module.parameters())
        counted = _Counted()
        with contained(deadline), torch.no_grad(), counted:
            self.call.make(0).call(module)
        return _DRAWN * drawn + counted.operations


def lighter(search: ConstructorSearch, way: Way, deadline: Deadline) -> Way:
    """The way, or another of the same ranks and dtypes with smaller sizes and fewer layers, if this one is heavy."""
    deadline = deadline.part(_SHARE)
    steps, tried = _steps(search), [way.construction.arguments]
    try:
        work = way.work(deadline)
        while work > ENOUGH and not deadline.is_over and (step := next(steps, None)) is not None:
            arguments = step(way.construction.arguments)
            if arguments in tried:
                continue
            tried.append(arguments)
            other = _with(way, arguments, deadline)
            if other is not None and (less := other.work(deadline)) < _WORTH * work:
                way, work = other, less
    except Exception:  # noqa: BLE001 - out of time, or a forward that fails at times: the way as it was found
        return way
    return way


def _steps(search: ConstructorSearch) -> Iterator[Callable[[Arguments], Arguments]]:
    """Changes of the arguments, the mildest first; one parameter at a time where all at once may not fit."""
    yield search.shrunk
    for name in search.parameters:
        yield lambda arguments, name=name: search.shrunk(arguments, only=name)  # type: ignore[misc]
    for _ in range(_HALVINGS):
        yield _halved
    yield lambda arguments: {**arguments, **options.of_one_layer(search.cls, arguments)}


def _halved(arguments: Arguments) -> Arguments:
    """Widths of half the size."""
    return {
        name: value // 2 if type(value) is int and value >= WIDTH else value
        for name, value in arguments.items()
    }


def _with(way: Way, arguments: Arguments, deadline: Deadline) -> Way | None:
    """A way with these arguments, if its call is one of the same kind."""
    old = way.construction
    try:
        with contained(deadline):
            module = replace(old, arguments=arguments).build().train(old.module.training)
    except Exception:  # noqa: BLE001 - these sizes do not fit each other
        return None
    how = old.how.removesuffix(SMALL) + SMALL
    construction = replace(old, arguments=arguments, how=how, module=module)
    found = CallSearch(module, dict(arguments), deadline)
    call = found.find()
    is_alike = call is not None and _kinds(call) == _kinds(way.call)
    return Way(construction, call, found.callee) if call is not None and is_alike else None


def _kinds(call: Call) -> list[tuple[int, torch.dtype]]:
    return [(spec.rank, spec.dtype) for spec in specs([*call.args, *call.kwargs.values()])]


class _Counted(TorchFunctionMode):
    """Counts the operations of convolutions and matrix products, and the numbers that all functions return.

    A mode of functions: that of `torch.utils.flop_counter` imports the compiler.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        output = function(*args, **(kwargs or {}))
        returned = sum(one.numel() for one in tree.tensors(output))
        self.operations += _TOUCHED * returned
        name = getattr(function, "__name__", "")
        if name in _WEIGHTED and len(args) > 1:
            self.operations += 2 * returned * math.prod(args[1].shape[1:])
        elif name in _PRODUCTS:
            self.operations += 2 * returned * args[0].shape[-1]
        return output
