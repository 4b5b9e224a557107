"""Other constructor arguments after an error: from the failing line, its names, numbers and options."""

from __future__ import annotations

import ast
import inspect
import itertools
import math
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from torch import nn

from layersmith.load import failure
from layersmith.load.constructor import kinds, names
from layersmith.load.constructor.candidates import same, unique
from layersmith.load.constructor.standins import ANY_MODULE, LAYERS
from layersmith.load.constructor.syntax import last_name
from layersmith.load.constructor.usage import constructor
from layersmith.load.values import Made
from layersmith.probe import source

Arguments = dict[str, Any]
Values = Callable[[str], list[Any]]  # the candidates for a parameter name

# Of images with which a constructor runs its layers once, to see how many features they leave.
_TOO_SMALL = re.compile(
    "more than 1 value per channel|[Oo]utput size is too small|Kernel size can't be greater"
)
_SIDES, _LARGER = re.compile(r"^(image|img|input|im)_?(size|resolution)$"), (64, 224)
_OTHER_TEXTS = ("a", "b")  # beside those that a class asks for
_OPTIONS = 3  # of several that a test allows
_EXAMPLES: Mapping[type, Any] = {int: 4, float: 0.5, str: "relu", bool: False}


def repaired(
    cls: type[nn.Module], arguments: Arguments, error: Exception, values: Values
) -> Iterator[Arguments]:
    """Arguments that may avoid the error, the likeliest first."""
    text = str(error)
    parameters = inspect.signature(constructor(cls)).parameters
    named = {name for name, p in parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    known = {*named, *arguments} - {"self"}
    yield from _missing(parameters, arguments, text, values)
    yield from _unset(parameters, arguments, error, values)
    yield from _swapped(arguments, text)
    if isinstance(error, OSError):
        yield from _without_weights(parameters, arguments)
    if _TOO_SMALL.search(text):
        yield from ({**arguments, name: value} for name, value in _with_room(arguments))
    for name, value in _asked_for(arguments, error, known):
        yield {**arguments, name: value}
    yield from _of_a_class(cls, arguments, error)
    yield from _as_table(cls, arguments, error)
    yield from _one_key_more(arguments, error, values)
    values_used = {name: p.default for name, p in parameters.items()} | arguments
    classes = {name: value for name, value in values_used.items() if inspect.isclass(value)}
    suspects = [name for name, value in classes.items() if kinds.is_said_of(value, text)]
    suspects += [word for word in re.findall(r"[A-Za-z_]\w*", text) if word in known]
    suspects += _on_the_line(cls, error, known)
    if isinstance(error, IndexError):
        yield from _as_many(cls, arguments, suspects)
        yield from ({**arguments, name: LAYERS} for name, value in arguments.items() if value == ANY_MODULE)
    suspects = _of_blamed_type(arguments, error) or suspects
    for name in list(dict.fromkeys(suspects or arguments))[:6]:
        default = parameters[name].default if name in parameters else None
        current = arguments.get(name, default)
        for value in _alternatives(current, text, error, values(name))[:7]:
            yield {**arguments, name: value}


def _with_room(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """An argument, or one of the settings, with which images are larger."""
    for name, value in settings.items():
        if type(value) is int and _SIDES.match(name):
            yield from ((name, side) for side in _LARGER if side > value)
        elif isinstance(value, Made) and value.remade is not None:
            yield from ((name, value.remade(*part)) for part in _with_room(value.parts))


def _swapped(arguments: Arguments, text: str) -> Iterator[Arguments]:
    """Two widths the other way round, where the difference is a third: `Conv2d(width, out_width - width)`."""
    said = re.search(r"negative dimension -(\d+)", text)
    widths = {name: value for name, value in arguments.items() if type(value) is int}
    for one, other in itertools.permutations(widths, 2):
        if said and widths[one] - widths[other] == int(said[1]):
            yield {**arguments, one: widths[other], other: widths[one]}


def _of_a_class(cls: type[nn.Module], arguments: Arguments, error: Exception) -> Iterator[Arguments]:
    """A class of the same file that has what was read of a number: `block.expansion`."""
    if not isinstance(error, AttributeError) or type(error.obj) is not int:
        return
    near = vars(sys.modules[cls.__module__]).values() if cls.__module__ in sys.modules else ()
    having = [
        one
        for one in near
        if inspect.isclass(one) and issubclass(one, nn.Module) and error.name in vars(one) and one is not cls
    ]
    for name, value in arguments.items():
        if type(value) is int and value == error.obj and not re.match("(num|n)_", name):
            yield from ({**arguments, name: one} for one in having[:2])


def _as_table(cls: Any, arguments: Arguments, error: Exception) -> Iterator[Arguments]:
    """A number for each of the texts that something is asked for, also by a part: `tag_to_ix[START_TAG]`."""
    if not re.match(r"(list|tuple) indices must be integers or slices, not str", str(error)):
        return
    scope = getattr(constructor(cls), "__globals__", {})
    parts = {type(frame.f_locals["self"]) for frame, _ in failure.frames(error) if "self" in frame.f_locals}
    nodes = (node for one in {cls, *parts} for node in ast.walk(source.class_node(one) or ast.Pass()))
    asked = [one for one in nodes if isinstance(one, ast.Subscript)]
    for name in (name for name, value in arguments.items() if isinstance(value, list | tuple)):
        keys = [one.slice for one in asked if last_name(one.value) == name]
        said = [
            key.value if isinstance(key, ast.Constant) else scope.get(getattr(key, "id", "")) for key in keys
        ]
        texts = dict.fromkeys(key for key in said if isinstance(key, str))
        if texts:
            yield {**arguments, name: {key: at for at, key in enumerate([*_OTHER_TEXTS, *texts])}}


def _one_key_more(arguments: Arguments, error: Exception, values: Values) -> Iterator[Arguments]:
    """Tables with the text that they lack: numbers, `tag_to_ix["B_" + kind]`, or settings: `dict(config)["width"]`."""
    key = error.args[0] if isinstance(error, KeyError) and error.args else None
    for name, value in arguments.items():
        if isinstance(key, str) and isinstance(value, dict) and key not in value:
            is_table = bool(value) and [*value.values()] == [*range(len(value))]
            yield {**arguments, name: {**value, key: len(value) if is_table else values(key)[0]}}


def _on_the_line(cls: type[nn.Module], error: Exception, known: set[str]) -> list[str]:
    """The arguments on the failing line of the constructor, or of one that this one hands them on to."""
    makers = dict.fromkeys(getattr(vars(base).get("__init__"), "__code__", None) for base in cls.__mro__)
    found = (failure.names_behind(error, known, code) for code in makers if code is not None)
    there = next((names_there for names_there in found if names_there), [])
    named_alike = failure.names_behind(error, known)  # where it fails, which may be far below
    return list(dict.fromkeys([*(name for name in named_alike if name in there), *there]))


def _as_many(cls: type[nn.Module], arguments: Arguments, suspects: list[str]) -> Iterator[Arguments]:
    """A count no larger than a list whose end was passed: `for i in range(n): Linear(dim, sizes[i])`."""
    node = source.function_node(constructor(cls))
    ranges = [
        one
        for one in ast.walk(node or ast.Pass())
        if getattr(getattr(one, "func", None), "id", "") == "range"
    ]
    counts = {part.id for one in ranges for part in ast.walk(one) if isinstance(part, ast.Name)} & {
        *arguments
    }
    for length in (len(v) for name in suspects if isinstance(v := arguments.get(name), list | tuple)):
        yield from ({**arguments, n: length} for n in sorted(counts) if type(arguments[n]) is int and length)


def _of_blamed_type(arguments: Arguments, error: Exception) -> list[str]:
    """The arguments of the one type that the message says is wrong: "found element of type list"."""
    blamed = re.findall(
        r"of type '?(list|tuple|str|float)|: '\w+' and '(list|tuple|str)'|: '(list|tuple)' and '\w+'"
        r"|^(str|list) is not a Module|^'(list|tuple)' object cannot be interpreted as an integer",
        str(error),
    )
    types = {kind for pair in blamed for kind in pair if kind}
    if re.match(r"'\w*Module' object cannot be interpreted as an integer", str(error)):
        return [name for name, value in arguments.items() if isinstance(value, Made) and value.is_stand_in]
    is_about_types = isinstance(error, TypeError)
    return [name for name, value in arguments.items() if is_about_types and type(value).__name__ in types]


def _missing(
    parameters: Mapping[str, inspect.Parameter], arguments: Arguments, text: str, values: Values
) -> Iterator[Arguments]:
    """A constructor with **kwargs that wants more than its signature says."""
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    quoted = [
        word for word in re.findall(r"[`'\"](\w+)[`'\"]", text) if word.isidentifier() and word.islower()
    ]
    more = {word: values(word)[0] for word in quoted if word not in arguments and word != "self"}
    if more and re.search(r"missing|required|KeyError|^'\w+'$|provide|must be|passed|specif|expect", text):
        yield {**arguments, **more}


def _unset(
    parameters: Mapping[str, inspect.Parameter], arguments: Arguments, error: Exception, values: Values
) -> Iterator[Arguments]:
    """What is None, [] or {} by default where the message says that it must not be; or all such sizes."""
    text = str(error)
    named = [word for word in dict.fromkeys(re.findall(r"\w+", text)) if word in parameters]
    unset = [name for name in named if arguments.get(name, parameters[name].default) is None]
    if unset and re.search(r"must be|requir|supplied|provide|specif|given", text):
        yield {**arguments, **_told(unset, values)}
    compared = (getattr(one.left, "id", "") for one in failure.comparisons(error) if one.wanted is None)
    asked = [n for n in compared if n in parameters and arguments.get(n, parameters[n].default) is None]
    if len(asked) > 1:  # `if width is None or depth is None: raise`
        yield {**arguments, **_told(asked, values)}
    sizes = [n for n, p in parameters.items() if p.annotation in (int, "int") or names.known_integers(n)]
    left = [n for n in sizes if n != "self" and arguments.get(n, parameters[n].default) is None]
    if "NoneType" in text and len(left) > 1:
        yield {**arguments, **_told(left, values)}
    for kind, says in ((list, "'list'"), (dict, r"^'\w+'$")):  # KeyError of the key alone
        empty = [name for name, p in parameters.items() if arguments.get(name, p.default) == kind()]
        if empty and re.search(says, text):
            yield {**arguments, **_told(empty, values)}


def _told(unset: list[str], values: Values) -> Arguments:
    return {
        name: next((one for one in values(name) if one is not None and one not in ([], {})), None)
        for name in unset
    }


def _without_weights(
    parameters: Mapping[str, inspect.Parameter], arguments: Arguments
) -> Iterator[Arguments]:
    """Without the file, or the download, of weights that an argument asks for."""
    for name, parameter in parameters.items():
        current = arguments.get(name, parameter.default)
        if names.WEIGHTS.search(name) and (current is True or isinstance(current, str)):
            yield {**arguments, name: False if current is True else None}


def _asked_for(arguments: Arguments, error: Exception, known: set[str]) -> Iterator[tuple[str, Any]]:
    """What the failed condition itself asks for: a type, a length, a divisor, an option."""
    for name, types in failure.isinstance_tests(error):
        for kind in types if name in known else ():
            yield from ((name, value) for value in _of_type(kind, name, arguments.get(name)))
    for test in failure.comparisons(error):
        yield from _of_length(test, arguments)
        yield from _divisible(test, arguments)
        yield from _equal_to(test, known)


def _of_type(kind: type, name: str, current: Any) -> Iterator[Any]:
    if kind in (list, tuple):
        first = current[0] if isinstance(current, list | tuple) and current else current
        item = first if isinstance(first, int) else 2
        counts = (2, 3, 1) if re.search("kernel|stride|padd|dilat|size", name) else (4, 3, 2, 1)
        yield from (kind([item] * count) for count in counts)
    elif kind in _EXAMPLES:
        yield _EXAMPLES[kind]


def _of_length(test: failure.Comparison, arguments: Arguments) -> Iterator[tuple[str, Any]]:
    for side, wanted in ((test.left, test.wanted), (test.right, test.got)):
        name = failure.name_in(side, "len")
        current = arguments.get(name)
        if type(wanted) is int and isinstance(current, list | tuple) and current and 0 < wanted < 10:  # noqa: PLR2004
            yield name, type(current)([current[0]] * wanted)


def _equal_to(test: failure.Comparison, known: set[str]) -> Iterator[tuple[str, Any]]:
    """For `kernel_size != 2 * stride`: the one side as large as the other; one of `kind in ["ReLU", "GeLU"]`."""
    if isinstance(test.left, ast.Name) and test.left.id in known and isinstance(test.wanted, Collection):
        options = [test.wanted] if isinstance(test.wanted, str) else [*test.wanted][:_OPTIONS]
        yield from ((test.left.id, option) for option in options if isinstance(option, str))
    for side, value in ((test.left, test.wanted), (test.right, test.got)):
        if isinstance(side, ast.Name) and side.id in known and type(value) is int:
            yield side.id, value


def _divisible(test: failure.Comparison, arguments: Arguments) -> Iterator[tuple[str, Any]]:
    """For `a % b == 0` another a: the next multiple of b; and another b: a divisor of a."""
    if not isinstance(test.left, ast.BinOp) or not isinstance(test.left.op, ast.Mod):
        return
    above, below = _named(test.left.left, arguments), _named(test.left.right, arguments)
    a, b = arguments.get(above), arguments.get(below)
    if type(a) is int and type(b) is int and b:
        yield above, b * max(1, round(a / b))
        yield from ((below, divisor) for divisor in range(min(a, b), 0, -1) if a % divisor == 0)
        return
    size, divisor = test.division
    is_less = isinstance(test.left.left, ast.BinOp) and isinstance(test.left.left.op, ast.Sub)
    if type(a) is int and is_less and type(divisor) is int and divisor > 0:  # (depth - 4) % 6: not 4 itself
        yield above, a - size + divisor * max(1, round(size / divisor))
    for name in (n for n, value in arguments.items() if type(value) is int and value == size):
        if (
            type(divisor) is int and divisor > 0
        ):  # of a part that got it under another name, or beside a default
            yield from ((name, divisor * max(1, round(size / divisor))), (name, math.lcm(size, divisor)))


def _named(node: ast.expr, arguments: Arguments) -> str:
    return next(
        (part.id for part in ast.walk(node) if isinstance(part, ast.Name) and part.id in arguments), ""
    )


def _alternatives(current: Any, text: str, error: Exception, values: list[Any]) -> list[Any]:
    numbers = [int(number) for number in re.findall(r"(?<![\w.])\d+(?![\w.])", text)][:6]
    if "NoneType" in text and current is None:
        values = [value for value in values if value is not None]
    sizes = [number for number in numbers if 0 < number < 512]  # noqa: PLR2004 - a small module
    sizes = sizes if type(current) is int and not isinstance(error, TypeError) else []
    first, last = (sizes, []) if "must match" in text else ([], sizes)
    found = [*first, *kinds.alternatives(current, text, error, numbers), *values, *last]
    return [value for value in unique(found) if not (type(value) is type(current) and same(value, current))]
