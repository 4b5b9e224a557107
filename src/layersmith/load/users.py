"""Roots first: a class that another class of its package uses is built and called as that one does it."""

from __future__ import annotations

import ast
import contextlib
import inspect
import sys
from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType

import torch
from torch import Tensor, nn

from layersmith.load.attempt import Deadline, contained
from layersmith.load.discovery import is_concrete
from layersmith.load.inference import by_inference
from layersmith.load.recorded import found_of
from layersmith.load.recording import recording
from layersmith.load.strategy import Found, Request
from layersmith.probe import source
from layersmith.probe.inputs import Inputs
from layersmith.probe.modes import in_mode

_USERS = 3  # how many users are tried
_DEEPEST = 2  # users of users
_SHARE = 0.4  # of the time left, for one user
_SECONDS = 1.0  # CPU time to see how others call a class that says nothing of its input
_LARGEST = 3_000_000  # numbers in parameters and inputs: what is larger makes every rule slow


def by_users(request: Request, *, depth: int = 0) -> Found | None:
    """A call that a user of the class makes, and the arguments with which it builds the class."""
    if request.inputs is not None:
        return None
    for user in list(users_of(request.cls))[:_USERS]:
        inner = Request(user, request.deadline.part(_SHARE))
        with contextlib.suppress(Exception):  # whatever happens in another class is not this one's fault
            found = by_inference(inner) or (by_users(inner, depth=depth + 1) if depth < _DEEPEST else None)
            taken = _harvested(request, user, found) if found is not None else None
            if taken is not None:
                return taken
        if request.deadline.is_over:
            break
    return None


def as_used(request: Request, guess: Found) -> Found:
    """The guess, or the call that a user of the class makes where that has other ranks or kinds of numbers."""
    deadline = Deadline.after(_SECONDS)
    deadline = min(deadline, request.deadline, key=lambda one: one.at)
    used = by_users(Request(request.cls, deadline))
    is_other = used is not None and not used.doubt and _differ(request.cls, guess, used)
    return used if used is not None and is_other and used.size <= _LARGEST else guess


def _differ(cls: type[nn.Module], guess: Found, used: Found) -> bool:
    """Whether an argument that both give has another rank or kind of numbers."""
    ours, theirs = (_kinds(cls, found.inputs(0)) for found in (guess, used))
    return any(ours[name] != theirs[name] for name in ours if name in theirs)


def _kinds(cls: type[nn.Module], inputs: Inputs) -> dict[str, tuple[int, bool]]:
    names = list(inspect.signature(source.forward(cls)).parameters)[1:]
    given = {**dict(zip(names, inputs.args, strict=False)), **inputs.kwargs}
    return {
        name: (value.ndim, value.is_floating_point())
        for name, value in given.items()
        if isinstance(value, Tensor)
    }


def users_of(cls: type[nn.Module]) -> Iterator[type[nn.Module]]:
    """Classes whose source names this one: of the same file first, then of the package."""
    for module in _modules_near(cls):
        if getattr(module, cls.__name__, None) is not cls:
            continue
        for user in list(vars(module).values()):
            is_own = inspect.isclass(user) and user.__module__ == module.__name__
            if is_own and issubclass(user, nn.Module) and user is not cls and not issubclass(cls, user):
                node = source.class_node(user)
                if node is not None and _names(node, cls.__name__) and is_concrete(user):
                    yield user


def _modules_near(cls: type) -> Iterator[ModuleType]:
    own = sys.modules.get(cls.__module__)
    yield from [own] if own is not None else []
    package = cls.__module__.partition(".")[0]
    for name, module in list(sys.modules.items()):
        if module is not own and name.startswith(f"{package}.") and package != "torch":
            yield module


def _names(node: ast.AST, name: str) -> bool:
    """Whether the body of a class names another class; to inherit from it is not to use it."""
    body = [part for statement in getattr(node, "body", ()) for part in ast.walk(statement)]
    return any(isinstance(part, ast.Name) and part.id == name for part in body)


def _harvested(request: Request, user: type, found: Found) -> Found | None:
    how = f"as {user.__name__} builds and calls it"
    deadline: Deadline = request.deadline
    with recording(frozenset({request.cls})) as seen, contained(deadline), torch.no_grad():
        module = in_mode(found.build(0), training=False)
        with contextlib.suppress(Exception):  # what was called before an error was called
            found.inputs(0).call(module)
    ways = (found_of(one, seen, how, deadline) for one in seen.of(request.cls))
    way = next((way for way in ways if way is not None), None)
    return (
        replace(way, doubt=found.doubt) if way is not None else None
    )  # a guess at the user is one at its parts
