"""Other constructor arguments after an error of forward: options left None, widths that clash, empty lists."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterator, Mapping

from torch import nn

from layersmith.load.call.repair.messages import directed_pairs, undirected_pairs
from layersmith.load.constructor import names, standins
from layersmith.load.constructor.repair import Arguments, Values
from layersmith.load.values import Made
from layersmith.probe import unset

_IMAGE = 3  # channels, height and width
Parameters = Mapping[str, inspect.Parameter]
_SIDES = re.compile("size|resolution|shape|window|hw|stride|patch|grid")


def asked_by(
    cls: type[nn.Module], text: str, arguments: Arguments, parameters: Parameters, values: Values
) -> Iterator[Arguments]:
    """Arguments with which forward may not complain so; the likeliest first.

    Args:
        cls: the class.
        text: of forward's error.
        arguments: with which the module was built.
        parameters: of the constructor.
        values: the candidates for a parameter.
    """
    yield from _given(text, arguments, parameters, values)
    yield from _behind_an_option(cls, text, arguments, parameters, values)
    yield from _wide_stand_ins(text, arguments)
    yield from _fitting_sizes(text, arguments, parameters)
    yield from _filled(text, arguments, parameters, values)
    yield from _lengthened(text, arguments)
    yield from _as_large(text, arguments)
    yield from _of_settings(text, arguments)
    if re.search(r"non-iterable int|'int' object is not (iterable|subscriptable)", text):
        sides = [n for n, v in arguments.items() if type(v) is int and _SIDES.search(n)]
        yield from ({**arguments, name: (arguments[name],) * 2} for name in sides)
    if re.search(r"can only concatenate (tuple|list) \(not \"int\"\)", text):
        numbers = {n: v for n, v in arguments.items() if type(v) is int}
        yield from ({**arguments, name: (value,)} for name, value in numbers.items())
    if re.search(r"p_in <= 1|between 0 and 1", text):
        yield from ({**arguments, n: 0.5} for n, v in arguments.items() if type(v) is float and v > 1)
    index = re.search(r"Dimension out of range .* got (-?\d+)", text)
    used = [n for n, v in arguments.items() if type(v) is int and index and v == int(index.group(1))]
    yield from ({**arguments, name: value} for name in used for value in (1, -1))


def _given(text: str, arguments: Arguments, parameters: Parameters, values: Values) -> Iterator[Arguments]:
    """A value for an option that was left None."""
    for name, parameter in parameters.items():
        is_none = arguments.get(name, parameter.default) is None
        is_module = names.MODULE.search(names.plain(name)) or names.ACTIVATION.search(names.plain(name))
        is_called = is_module and "'NoneType' object is not callable" in text
        is_number = "NoneType" in text and "operand" in text and bool(names.known_integers(name))
        if is_none and (is_called or is_number or re.search(rf"\b{name}\b", text)):
            filled = [value for value in values(name) if value is not None]
            yield from ({**arguments, name: value} for value in filled[:3])


def _behind_an_option(
    cls: type[nn.Module], text: str, arguments: Arguments, parameters: Parameters, values: Values
) -> Iterator[Arguments]:
    """The option under which alone the constructor sets what forward misses: `if num_classes is not None: ...`."""
    missing = re.search(r"object has no attribute '(\w+)'", text)
    for name in sorted(unset.options_behind(cls, missing[1]) & {*parameters}) if missing else ():
        current = arguments.get(name, parameters[name].default)
        found = [True] if current is False else [value for value in values(name) if value is not None]
        yield from ({**arguments, name: value} for value in found[:2] if current in (None, False))


def _wide_stand_ins(text: str, arguments: Arguments) -> Iterator[Arguments]:
    """A stand-in for a backbone that ends with as many channels as the next layer takes."""
    stand_ins = [(n, v) for n, v in arguments.items() if isinstance(v, Made) and v.is_stand_in]
    widths = [wanted for given, wanted in directed_pairs(text) if given == names.WIDTH]
    for name, stand_in in stand_ins:
        yield from ({**arguments, name: standins.as_wide(stand_in, width)} for width in widths)


def _of_settings(text: str, arguments: Arguments) -> Iterator[Arguments]:
    """Settings in which a size is as the features that meet it: `norm = LayerNorm(config.width)`."""
    pairs = [*directed_pairs(text), *(way for a, b in undirected_pairs(text) for way in ((a, b), (b, a)))]
    for name, made in arguments.items():
        for given, wanted in pairs if isinstance(made, Made) else ():
            yield from ({**arguments, name: other} for other in _resized(made, wanted, given))


def _resized(settings: Made, old: int, new: int) -> Iterator[Made]:
    remade = settings.remade
    if remade is None:
        return
    for name, value in settings.parts.items():
        inner = _resized(value, old, new) if isinstance(value, Made) else ()
        others = [new] if type(value) is int and value == old else inner
        yield from (remade(name, other) for other in others)


def _as_large(text: str, arguments: Arguments) -> Iterator[Arguments]:
    """A shape, at whose end a view fails, with the sides that its layers make of as many channels: (3, 64, 64)."""
    view = re.search(r"shape '\[([\d, ]+)\]' is invalid for input of size (\d+)", text)
    sizes = tuple(map(int, view[1].split(","))) if view else ()
    for name, value in arguments.items():
        is_image = isinstance(value, list | tuple) and len(value) == _IMAGE and 0 not in value
        if view and is_image and sizes[-_IMAGE:] == tuple(value):
            rows = math.prod(sizes[:-_IMAGE]) * value[0]
            side = math.isqrt(int(view[2]) // rows)
            if side * side * rows == int(view[2]):
                yield {**arguments, name: type(value)((value[0], side, side))}


def _filled(text: str, arguments: Arguments, parameters: Parameters, values: Values) -> Iterator[Arguments]:
    """Members for lists whose default is empty, as many as the other lists have."""
    empty = [n for n, p in parameters.items() if p.default in ((), []) and not arguments.get(n)]
    if not empty or not re.search(r"index .*out of range|empty|zero|at least", text):
        return
    lengths = [len(value) for value in arguments.values() if isinstance(value, list | tuple)]
    lists = {n: next((v for v in values(n) if isinstance(v, list) and v), None) for n in empty}
    for length in dict.fromkeys([*lengths, 2]):
        yield {**arguments, **{n: (found * length)[:length] for n, found in lists.items() if found}}


def _lengthened(text: str, arguments: Arguments) -> Iterator[Arguments]:
    """A longer list of sizes where there are fewer layers than forward counts on: the last size once more."""
    beyond = re.search(r"index (?:(\d+) is )?out of range(?! in self)", text)
    for name, value in arguments.items() if beyond else ():
        is_of_sizes = isinstance(value, list | tuple) and bool(value) and all(type(v) is int for v in value)
        lengths = [int(beyond[1]) + 1] if beyond and beyond[1] else [len(value) + 1] if is_of_sizes else []
        for length in lengths if is_of_sizes else ():
            if length > len(value):
                yield {**arguments, name: type(value)([*value, *[value[-1]] * (length - len(value))])}


def _fitting_sizes(text: str, arguments: Arguments, parameters: Parameters) -> Iterator[Arguments]:
    """A width as large as what it is added to; another window where a view does not come out even."""
    told = {n: arguments.get(n, p.default) for n, p in parameters.items()}
    numbers = {n: value for n, value in told.items() if type(value) is int and value > 1}
    required = [n for n, p in parameters.items() if p.default is p.empty]
    for one, other in [*undirected_pairs(text), *directed_pairs(text)]:
        for given, wanted in ((one, other), (other, one)):
            fitting = [n for n in required if numbers.get(n) == given]
            yield from ({**arguments, name: wanted} for name in fitting if given != wanted)
    view = re.search(r"shape '\[([\d, \-]+)\]' is invalid", text)
    sizes = set(map(int, view.group(1).split(","))) if view else set()
    chunks = re.search(r"divide axis of length \d+ in chunks of (\d+)", text)
    sizes |= {int(chunks.group(1))} if chunks else set()
    for name in (n for n, value in numbers.items() if value in sizes):
        yield from ({**arguments, name: value} for value in names.known_integers(name)[:3])
