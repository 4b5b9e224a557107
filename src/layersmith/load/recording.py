"""Watches other code build and call modules: with what arguments, and with what inputs."""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from layersmith.load.constructor.usage import constructor
from layersmith.probe import tree
from layersmith.probe.inputs import Inputs
from layersmith.probe.snapshot import snapshot

_LARGEST = 50_000_000  # elements of one call's inputs; a larger call is not kept
_FRAMES = 40  # how far above nn.Module.__init__ the class's own constructor may stand

Arguments = dict[str, Any]


class Enough(BaseException):
    """Ends the code that is watched: what it was run for has been seen. No `except Exception` stops it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One call that worked: the module, its inputs before the call, and what it was built with."""

    module: nn.Module
    inputs: Inputs
    arguments: Arguments | None  # None: it was built before anybody watched
    training: bool


@dataclass(slots=True)
class Recording:
    """What was seen."""

    wanted: frozenset[type] | None  # classes whose calls are kept; None: all
    each: int  # calls of different shapes that are kept of a class, or of a module if `by_module`
    by_module: bool
    is_brief: bool
    calls: dict[Any, list[Seen]] = field(default_factory=lambda: defaultdict(list))
    running: set[int] = field(default_factory=set)  # modules inside a call of theirs
    arguments: weakref.WeakKeyDictionary[nn.Module, Arguments] = field(
        default_factory=weakref.WeakKeyDictionary
    )

    def of(self, cls: type) -> list[Seen]:
        """The calls of instances of exactly this class."""
        return [seen for calls in self.calls.values() for seen in calls if type(seen.module) is cls]


@contextlib.contextmanager
def recording(
    wanted: frozenset[type] | None = None,
    *,
    each: int = 2,
    by_module: bool = False,
    is_brief: bool = False,
) -> Iterator[Recording]:
    """Keep the calls of modules inside, and the arguments of those that are built inside.

    Args:
        wanted: the classes whose calls are kept; None: all.
        each: how many calls, different in shapes, are kept.
        by_module: that many of every module, else of every class.
        is_brief: raise Enough after the first call that is kept.
    """
    found = Recording(wanted, each, by_module, is_brief)
    call, initialise = nn.Module.__call__, nn.Module.__init__

    @functools.wraps(call)
    def watched_call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return _kept(found, call, module, args, kwargs)

    @functools.wraps(initialise)
    def watched_initialise(module: nn.Module, *args: Any, **kwargs: Any) -> None:
        given = _given(module, sys._getframe(1))  # noqa: SLF001 - the only way to a caller's arguments
        initialise(module, *args, **kwargs)
        if given is not None:
            found.arguments[module] = given

    kind: Any = nn.Module
    kind.__call__, kind.__init__ = watched_call, watched_initialise
    try:
        with _forwards(found):
            yield found
    finally:
        kind.__call__, kind.__init__ = call, initialise


@contextlib.contextmanager
def _forwards(found: Recording) -> Iterator[None]:
    """See calls of the wanted classes' forward itself, too: `self.attention.forward(x)`."""
    own = {cls: vars(cls).get("forward") for cls in found.wanted or ()}
    for cls, forward in own.items():
        if inspect.isfunction(forward):
            _set_forward(cls, _watched(found, forward))
    try:
        yield
    finally:
        for cls, forward in own.items():
            if inspect.isfunction(forward):
                _set_forward(cls, forward)


def _set_forward(cls: Any, forward: Callable[..., Any]) -> None:
    cls.forward = forward


def _watched(found: Recording, forward: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(forward)
    def watched_forward(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if id(module) in found.running:
            return forward(module, *args, **kwargs)
        return _kept(found, forward, module, args, kwargs)

    return watched_forward


def _kept(
    found: Recording,
    call: Callable[..., Any],
    module: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """What the call returns; the call is kept if that has a tensor."""
    seen = _before(found, module, args, kwargs)
    found.running.add(id(module))
    try:
        output = call(module, *args, **kwargs)
    finally:
        found.running.discard(id(module))
    if seen is not None and next(tree.tensors(_contents(output)), None) is not None:
        found.calls[_key(found, module)].append(seen)
        if found.is_brief:
            raise Enough
    return output


def _contents(output: Any) -> Any:
    """What the output holds: an object's attributes where it is no container."""
    is_object = hasattr(output, "__dict__") and next(tree.tensors(output), None) is None
    return list(vars(output).values()) if is_object else output


def _before(
    found: Recording, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Seen | None:
    """The inputs of a call that is worth keeping."""
    if found.wanted is not None and type(module) not in found.wanted:
        return None
    known = found.calls.get(_key(found, module), ())
    if len(known) >= found.each:
        return None
    given = Inputs(args, kwargs)
    is_known = any(_shapes(seen.inputs) == _shapes(given) for seen in known)
    if is_known or sum(tensor.numel() for tensor in given.tensors()) > _LARGEST:
        return None
    return Seen(
        module,
        Inputs(snapshot(args), snapshot(kwargs)),
        found.arguments.get(module),
        module.training,
    )


def _key(found: Recording, module: nn.Module) -> Any:
    return id(module) if found.by_module else type(module)


def _shapes(inputs: Inputs) -> list[tuple[str, tuple[int, ...], Any]]:
    return [(name, tuple(tensor.shape), tensor.dtype) for name, tensor in inputs.named_tensors()]


def _given(module: nn.Module, frame: Any) -> Arguments | None:
    """The arguments of the constructor that is running, read from its frame.

    A patched `nn.Module.__new__` would see them too, but cannot be taken away again: without it, CPython
    refuses arguments to `object.__new__` for classes that once had another.
    """
    own = getattr(inspect.unwrap(constructor(type(module))), "__code__", None)
    for _ in range(_FRAMES):
        if frame is None or own is None:
            return None
        if frame.f_code is own:
            return _arguments(frame)
        frame = frame.f_back
    return None


def _arguments(frame: Any) -> Arguments:
    values = inspect.getargvalues(frame)
    found = {name: snapshot(values.locals[name]) for name in values.args[1:] if name in values.locals}
    if values.varargs and values.locals.get(values.varargs):
        found[values.varargs] = snapshot(values.locals[values.varargs])
    if values.keywords:
        found.update(snapshot(values.locals.get(values.keywords) or {}))
    return found
