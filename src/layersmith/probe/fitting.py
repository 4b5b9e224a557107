"""Calls in the source of a class, what they call, and whether the one fits the other."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from torch import nn

from layersmith.probe import source, undefined

_VARIADIC = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.Sequential, nn.ParameterList, nn.ParameterDict)
SHORT = 4  # letters
# Arguments whose names say what they are, wherever they go.
ONE_OF_ITS_KIND = frozenset({"momentum", "eps", "dropout", "padding", "dilation", "groups", "stride"})


@dataclass(frozen=True, slots=True)
class Called:
    """A call, the method in which it stands, and what it calls."""

    node: ast.Call
    method: source.Function
    file: str
    name: str  # as it is written
    signature: inspect.Signature  # without `self`
    is_class: bool


def calls(cls: type, module: nn.Module | None = None) -> Iterator[Called]:
    """The calls in the methods of a class whose callee is known, without `*` and `**`.

    Args:
        cls: the class.
        module: one of it, whose containers are then known, too.
    """
    for owner in undefined.owners(cls):
        node, file = source.class_node(owner), source.file_of(owner)
        scope = vars(sys.modules.get(owner.__module__, sys))
        for method in (
            [] if node is None else [part for part in node.body if isinstance(part, source.Function)]
        ):
            for call in ast.walk(method):
                if not isinstance(call, ast.Call) or _is_open(call):
                    continue
                for name, callee, is_bound in _callees(call.func, method, (cls, owner), scope, module):
                    signature = _signature(callee, is_bound=is_bound)
                    if signature is not None:
                        yield Called(call, method, file, name, signature, isinstance(callee, type))


def misfit(called: Called) -> str:
    """Why the call raises a TypeError; "" if it does not."""
    try:
        called.signature.bind(*called.node.args, **{str(word.arg): None for word in called.node.keywords})
    except TypeError as error:
        return "" if undefined.is_guarded(called.file, called.node.lineno, also="TypeError") else str(error)
    return ""


def _is_open(call: ast.Call) -> bool:
    """Whether the number of its arguments is not written there."""
    return any(isinstance(one, ast.Starred) for one in call.args) or any(
        word.arg is None for word in call.keywords
    )


def _callees(
    func: ast.expr,
    method: source.Function,
    classes: tuple[type, type],
    scope: dict[str, Any],
    module: nn.Module | None,
) -> Iterator[tuple[str, Any, bool]]:
    """What is called, as far as it is known: its name, itself, and whether a first argument is already given."""
    if isinstance(func, ast.Attribute) and scope.get(getattr(func.value, "id", "")) is nn:
        layer = getattr(nn, func.attr, None)
        if inspect.isclass(layer):
            yield ast.unparse(func), layer, False
    elif isinstance(func, ast.Name):
        for name in _values_of(func.id, method):
            found = scope.get(name)
            if inspect.isclass(found) or inspect.isfunction(found):
                yield name, found, False
    elif isinstance(func, ast.Attribute) and getattr(func.value, "id", "") == "self":
        member, other = (inspect.getattr_static(cls, func.attr, None) for cls in classes)
        if inspect.isfunction(member) and member is other and not _is_own_attribute(module, func.attr):
            yield ast.unparse(func), member, True
    elif isinstance(func, ast.Attribute) and isinstance(func.value, ast.Attribute) and module is not None:
        held = (
            getattr(module, func.value.attr, None) if getattr(func.value.value, "id", "") == "self" else None
        )
        member = getattr(type(held), func.attr, None) if type(held) in CONTAINERS else None
        if inspect.isfunction(member):
            yield ast.unparse(func), member, True


def _is_own_attribute(module: nn.Module | None, name: str) -> bool:
    return module is not None and name in vars(module)


def _values_of(name: str, method: source.Function) -> list[str]:
    """The names for which a name stands: itself, or the two that a choice in this method gives it."""
    stores = _stores(method).get(name)
    if not stores:
        return [name]
    choice = stores[0].value if len(stores) == 1 and isinstance(stores[0], ast.Assign) else None
    sides = [choice.body, choice.orelse] if isinstance(choice, ast.IfExp) else []
    return [side.id for side in sides if isinstance(side, ast.Name)]


@functools.lru_cache(maxsize=256)
def _stores(method: source.Function) -> dict[str, list[ast.AST]]:
    """What sets each name in a method: the plain assignment of it alone, or whatever else it is."""
    plain = {
        id(part.targets[0]): part
        for part in ast.walk(method)
        if isinstance(part, ast.Assign) and len(part.targets) == 1
    }
    found: dict[str, list[ast.AST]] = {}
    for part in ast.walk(method):
        if isinstance(part, ast.Name) and not isinstance(part.ctx, ast.Load):
            found.setdefault(part.id, []).append(plain.get(id(part), part))
        elif isinstance(part, ast.arg):
            found.setdefault(part.arg, []).append(part)
        elif isinstance(part, ast.alias):
            found.setdefault((part.asname or part.name).partition(".")[0], []).append(part)
        elif isinstance(part, source.Function | ast.ClassDef) and part is not method:
            found.setdefault(part.name, []).append(part)
    return found


@functools.lru_cache(maxsize=1024)
def _signature(callee: Any, *, is_bound: bool) -> inspect.Signature | None:
    if inspect.isfunction(callee) and _is_left_open(callee):
        return None
    if isinstance(callee, type) and _is_started_as_any(callee):
        return inspect.Signature()
    try:
        found = inspect.signature(callee, follow_wrapped=False)  # what a decorator takes for itself fits, too
    except (TypeError, ValueError):
        return None
    first = [*found.parameters.values()][:1]
    if not is_bound:
        return found
    if not first or first[0].kind in _VARIADIC:
        return found if first else None
    return found.replace(parameters=[*found.parameters.values()][1:])


def _is_started_as_any(callee: type) -> bool:
    """Whether it has the constructor of every module, which takes anything and refuses it: `nn.Sigmoid(x)`."""
    static = functools.partial(inspect.getattr_static, callee)
    is_plain = type(callee) is type and static("__new__") is vars(object)["__new__"]
    return is_plain and static("__init__") is vars(nn.Module)["__init__"] and not static("call_super_init")


def exchanged(called: Called, known: list[Called]) -> str:
    """Which two arguments stand in each other's place, though no other call of the same has them so; "" if none do."""
    given = _positional(called)
    for name, place in given.items():
        if name == place or given.get(place) != name or _are_alike(name, place):
            continue
        others = [
            _positional(one) for one in known if one.name == called.name and one.node is not called.node
        ]
        if not any(one.get(name) == name or one.get(place) == place for one in others):
            return f"{name} is given as {place}, and {place} as {name}"
    return ""


def of_another_kind(called: Called) -> str:
    """Which argument has the name of a parameter that gets nothing, and is given to one of another kind; "" if none."""
    parameters = called.signature.parameters
    given = _positional(called)
    filled = {*given.values(), *(word.arg for word in called.node.keywords)}
    for name, place in given.items():
        if name not in parameters or name in filled:
            continue
        kinds = [_kind(parameters[one].default) for one in (name, place)]
        if all(kinds) and kinds[0] != kinds[1]:
            return f"{name}, which is {kinds[0]}, is given as {place}, which is {kinds[1]}"
    return ""


def misplaced(called: Called) -> str:
    """What is not given to the parameter of its name, as in `GroupNorm(channels, groups)`; "" if nothing."""
    given = _positional(called)
    for name, place in given.items():
        if _counted(name) == name:  # a layer, not a number of layers
            continue
        for other, meant in given.items():
            is_meant = _counted(name) == _counted(meant) != _counted(place)
            if is_meant and meant.startswith("num_") and _counted(other) != _counted(meant):
                return f"{name} is given as {place}, and {meant} is {other}"
    left = ONE_OF_ITS_KIND & {*called.signature.parameters} - {*given.values()} - _keywords(called)
    left -= {*list(called.signature.parameters)[: len(called.node.args)]}
    for name, place in given.items():
        own = next((one for one in sorted(left) if name == one or name.endswith(f"_{one}")), "")
        if own and place != "kernel_size":  # `MaxPool2d(stride)`
            return f"{name} is given as {place}, and {own} is left as it is"
    return ""


def _keywords(called: Called) -> set[str]:
    return {keyword.arg or "" for keyword in called.node.keywords}


def _counted(name: str) -> str:
    """What a name counts: "group" for `num_groups` and `n_groups`, as for `groups`."""
    return re.sub(r"^(?:num|n|nb)_|s$", "", name)


def _positional(called: Called) -> dict[str, str]:
    """The variables among the positional arguments, each once, with the parameter that gets them."""
    fixed = [
        name for name, one in called.signature.parameters.items() if one.kind is one.POSITIONAL_OR_KEYWORD
    ]
    names = [getattr(part, "id", getattr(part, "attr", "")) for part in called.node.args]
    pairs = zip(names, fixed, strict=False)
    return {name: place for name, place in pairs if name and names.count(name) == 1}


def _are_alike(one: str, other: str) -> bool:
    """Whether two names are of one kind, as `in_channels` and `out_channels`, or too short to tell."""
    parts = [set(name.split("_")) for name in (one, other)]
    is_width = any(
        re.match(r"in|out|src|tgt|source|target|old|new|left|right", name) for name in (one, other)
    )
    return bool(parts[0] & parts[1] - {"per", "num", "n"}) or is_width or min(len(one), len(other)) < SHORT


def _kind(default: Any) -> str:
    if isinstance(default, bool):
        return "a flag"
    if isinstance(default, int | float):
        return "a number"
    return "a text" if isinstance(default, str) else ""


def _is_left_open(function: FunctionType) -> bool:
    """Whether a method is for heirs to override: it does nothing, or no more than to raise NotImplementedError."""
    node = source.function_node(function)
    body = [one for one in node.body if not _is_text(one)] if node is not None else []
    return not body or all(
        isinstance(one, ast.Pass) or (isinstance(one, ast.Raise) and "NotImplemented" in ast.unparse(one))
        for one in body
    )


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
