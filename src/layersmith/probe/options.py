"""Other values that a constructor's arguments may take, as its signature and its source say."""

from __future__ import annotations

import ast
import inspect
import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from layersmith.probe import allowed, source

PROBABILITY = re.compile(r"drop|(?:^|_)prob|^p$|droprate")
COUNT = re.compile(r"(?:layers?|depth|blocks?|stages?|num_hidden)$")
WIDTH = re.compile(
    r"^(?:d_?model|dim|embed_dim|emb_dim|hidden_(?:size|dim)|width|channels|num_features|features)$"
)
KERNEL = re.compile(r"(?:^|_)(?:kernel|ksize)(?:_size)?$")
DILATION = re.compile(r"^dilation(?:_rate|_factor)?$")
DIMENSIONS = re.compile(r"^(?:spatial_dims|n_?dims?|num_dims|dimensions?)$")
SIDES = re.compile(r"size|resolution|shape")
RECTANGLE = "a rectangle"
SPACE = "a number of dimensions"
ODD = "an odd size"
TREATED = "an odd size, which the source treats"
FLAG, LISTED, COMPARED, NONE = (
    "a flag",
    "its annotation",
    "compared in the source",
    "which the source asks for",
)
CHOICES = (FLAG, LISTED, COMPARED, NONE)
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Option:
    """A value that an argument may take, and what says so."""

    name: str
    value: Any
    why: str  # "its default", "a flag", "compared in the source", "a rate", "a kernel", ODD and so on
    beside: tuple[tuple[str, Any], ...] = ()  # what other arguments must then be

    @property
    def changes(self) -> dict[str, Any]:
        """The arguments that it changes."""
        return {self.name: self.value, **dict(self.beside)}

    @property
    def is_choice(self) -> bool:
        """Whether it is one of a few things that a person chooses between, as a flag."""
        return self.why in CHOICES


def options(cls: type[nn.Module], given: Mapping[str, Any]) -> Iterator[Option]:
    """For each argument the values that it may take besides the one given; each value once."""
    try:
        parameters = inspect.signature(cls.__init__).parameters
    except (TypeError, ValueError):
        return
    compared, treated, optional = _compared(cls), _halved(cls), _asked_for_none(cls)
    paired = _paired(cls) | {
        name for name, one in parameters.items() if allowed.takes_several(one.annotation)
    }
    is_padded = any("pad" in name for name in parameters)
    values = {name: given.get(name, parameter.default) for name, parameter in parameters.items()}
    several = {name: value for name, value in values.items() if isinstance(value, list | tuple)}
    axes = next((values[name] for name in values if DIMENSIONS.search(name)), 2)
    for name, parameter in [*parameters.items()][1:]:
        current = given.get(name, parameter.default)
        seen = [current]
        for option in (
            (
                *_of(parameter, current, compared.get(name, ()), is_treated=name in treated),
                *_otherwise(
                    name,
                    current,
                    is_optional=name in optional,
                    axes=axes if name in paired and axes in (2, 3) else 0,
                    is_padded=is_padded,
                ),
            )
            if parameter.kind not in _VARIADIC
            else ()
        ):
            if option.why == SPACE:  # `stride=[1, 1]` is of two dimensions, too
                option = replace(option, beside=_of_axes(several, current, option.value))  # noqa: PLW2901
            if not any(type(option.value) is type(other) and option.value == other for other in seen):
                seen.append(option.value)
                yield option


def _of(
    parameter: inspect.Parameter, current: Any, compared: tuple[str | None, ...], *, is_treated: bool
) -> Iterator[Option]:
    name, default = parameter.name, parameter.default
    scope = allowed.values(parameter.annotation)
    is_given = default is not parameter.empty
    if is_given and _is_plain(default) and type(default) is not int:
        yield Option(name, default, "its default")
    if isinstance(current, bool) or isinstance(default, bool):
        yield from (Option(name, value, FLAG) for value in (True, False))
    if type(current) in (str, type(None)):
        yield from (Option(name, value, LISTED) for value in scope)
        yield from (Option(name, value, COMPARED) for value in compared)
    if type(current) is float and PROBABILITY.search(name):
        yield from (Option(name, value, "a rate") for value in (0.0, 0.5))
    if type(current) is int and WIDTH.search(name) and current % 2 == 0:
        yield Option(name, current + 1, TREATED if is_treated else ODD)
    if type(current) is int and COUNT.search(name):
        yield from (Option(name, value, "a count") for value in (1, 3))


def _of_axes(several: Mapping[str, Any], now: int, then: int) -> tuple[tuple[str, Any], ...]:
    """The arguments that hold a number for each axis, for another number of axes."""
    each = {
        name: [*value]
        for name, value in several.items()
        if len(value) == now and all(type(part) is int for part in value)
    }
    return tuple((name, type(several[name])((value + value[-1:])[:then])) for name, value in each.items())


def _otherwise(name: str, current: Any, *, is_optional: bool, axes: int, is_padded: bool) -> Iterator[Option]:
    """Nothing where the source asks for it; another kernel, dilation, number of dimensions, or shape."""
    if is_optional and isinstance(current, int | float | str):
        yield Option(name, None, NONE)
    if type(current) is int and KERNEL.search(name) and current % 2 and not is_padded:
        yield Option(name, 3 if current != 3 else 5, "a kernel")  # noqa: PLR2004 - the usual odd ones
    if current == 1 and DILATION.match(name) and not is_padded:
        yield Option(name, 2, "a dilation")
    if type(current) is int and DIMENSIONS.search(name) and current in (2, 3):
        yield Option(name, 5 - current, SPACE)
    sides = current if isinstance(current, tuple | list) else (current,) * axes
    is_square = len(sides) in (2, 3) and all(type(side) is int for side in sides) and len({*sides}) == 1
    if is_square and SIDES.search(name) and not KERNEL.search(name):
        yield Option(name, (*sides[:-1], 2 * sides[-1]), RECTANGLE)


def _asked_for_none(cls: type[nn.Module]) -> set[str]:
    """The parameters of which the constructor asks whether they are None."""
    node = source.function_node(cls.__init__)
    asked = [part for part in ast.walk(node) if isinstance(part, ast.Compare)] if node is not None else []
    return {
        part.left.id
        for part in asked
        if isinstance(part.left, ast.Name) and isinstance(part.ops[0], ast.Is | ast.IsNot)
    }


def _paired(cls: type[nn.Module]) -> set[str]:
    """The parameters that the constructor makes two of, if they are one number: `to_2tuple(size)`, `pair(size)`."""
    node = source.function_node(cls.__init__)
    calls = [part for part in ast.walk(node) if isinstance(part, ast.Call)] if node is not None else []
    return {
        one.id
        for call in calls
        for one in call.args[:1]
        if isinstance(one, ast.Name) and re.search(r"tuple|pair", ast.unparse(call.func).lower())
    }


def _is_plain(value: Any) -> bool:
    return isinstance(value, bool | int | float | str | None) or (
        type(value) is tuple and all(map(_is_plain, value))
    )


def _compared(cls: type[nn.Module]) -> dict[str, tuple[str | None, ...]]:
    """For each parameter the strings, or None, with which it, or the attribute that keeps it, is compared."""
    found: dict[str, list[str | None]] = {}
    kept = kept_as(cls)
    for method in methods(cls):
        arguments = {a.arg for a in ast.walk(method.args) if isinstance(a, ast.arg)}
        own = arguments if method.name == "__init__" else set()
        lists = _lists(method)
        for part in ast.walk(method):
            for asked, strings in _asked(part, lists):
                name = (
                    asked.id
                    if isinstance(asked, ast.Name) and asked.id in own
                    else kept.get(_attribute(asked), "")
                )
                found.setdefault(name, []).extend(strings)
    return {name: tuple(dict.fromkeys(strings)) for name, strings in found.items() if name}


def _halved(cls: type[nn.Module]) -> set[str]:
    """The parameters of which some code asks whether they are odd, other than to refuse: `if self.dim % 2:`."""
    kept = kept_as(cls)
    found = set()
    for method in methods(cls):
        for part in ast.walk(method):
            if isinstance(part, ast.If | ast.IfExp) and not _refuses(part):
                odd = [
                    one.left
                    for one in ast.walk(part.test)
                    if isinstance(one, ast.BinOp) and isinstance(one.op, ast.Mod) and _is_two(one.right)
                ]
                found |= {kept.get(_attribute(one), getattr(one, "id", "")) for one in odd}
    return found


def _refuses(node: ast.If | ast.IfExp) -> bool:
    return isinstance(node, ast.If) and any(isinstance(part, ast.Raise) for part in ast.walk(node))


def _is_two(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value == 2  # noqa: PLR2004


def _lists(method: source.Function) -> dict[str, ast.expr]:
    """The variables of a method that are set to a list, a tuple or a set as it is written."""
    return {
        ast.unparse(part.targets[0]): part.value
        for part in ast.walk(method)
        if isinstance(part, ast.Assign) and isinstance(part.value, ast.List | ast.Tuple | ast.Set)
    }


def _asked(node: ast.AST, lists: Mapping[str, ast.expr]) -> Iterator[tuple[ast.AST, list[str | None]]]:
    """What is compared with strings here, looked up in a literal table, or matched; and with which."""
    if (
        isinstance(node, ast.Compare)
        and len(node.ops) == 1
        and isinstance(node.ops[0], ast.Eq | ast.NotEq | ast.In | ast.NotIn)
    ):
        right = node.comparators[0]
        right = lists.get(ast.unparse(right), right)
        yield (
            _bare(node.left),
            _strings(getattr(right, "elts", None) or getattr(right, "keys", None) or [right]),
        )
    elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Dict):
        yield _bare(node.slice), _strings(node.value.keys)
    elif isinstance(node, ast.Match):
        values = [
            p.value for case in node.cases for p in ast.walk(case.pattern) if isinstance(p, ast.MatchValue)
        ]
        yield _bare(node.subject), _strings(values)


def _strings(nodes: typing.Iterable[ast.AST | None]) -> list[str | None]:
    """The strings among them; and None, in a list of strings."""
    values = [node.value for node in nodes if isinstance(node, ast.Constant)]
    strings = [value for value in values if isinstance(value, str)]
    return [*strings, *([None] if strings and None in values else [])]


def _bare(node: ast.AST) -> ast.AST:
    """Without `.lower()` and the like."""
    return node.func.value if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else node


def kept_as(cls: type[nn.Module]) -> dict[str, str]:
    """The attributes that hold a parameter as it was given: `self.mode = mode`, with the parameter's name."""
    node = source.function_node(cls.__init__)
    assignments = (
        [part for part in ast.walk(node) if isinstance(part, ast.Assign)] if node is not None else []
    )
    pairs = [pair for one in assignments for target in one.targets for pair in _pairs(target, one.value)]
    found = {_attribute(end): getattr(_bare(value), "id", "") for end, value in pairs}
    return {attribute: name for attribute, name in found.items() if attribute and name}


def _pairs(target: ast.expr, value: ast.expr) -> list[tuple[ast.expr, ast.expr]]:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        return [*zip(target.elts, value.elts, strict=False)]
    return [(target, value)]


def methods(cls: type[nn.Module]) -> Iterator[source.Function]:
    """The methods of a class and its bases below nn.Module, from their source."""
    for base in cls.__mro__:
        node = source.class_node(base) if base not in (nn.Module, object) else None
        for child in node.body if node is not None else ():
            if isinstance(child, source.Function):
                yield child


def _attribute(node: ast.AST) -> str:
    is_own = isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "self"
    return node.attr if is_own and isinstance(node, ast.Attribute) else ""


def current(cls: type[nn.Module], given: Mapping[str, Any], name: str) -> Any:
    """The value that an argument has."""
    return given[name] if name in given else inspect.signature(cls.__init__).parameters[name].default


def names(cls: type[nn.Module]) -> list[str]:
    """The names of the arguments, variadic ones left out."""
    parameters = [*inspect.signature(cls.__init__).parameters.values()][1:]
    return [parameter.name for parameter in parameters if parameter.kind not in _VARIADIC]
