"""Other values that a constructor's arguments may take, as its signature and its source say."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from layersmith.probe import allowed, comparisons, questions, widths
from layersmith.probe.standing import Texts

PROBABILITY = re.compile(r"drop|(?:^|_)prob|^p$|droprate")
MOST = 48  # layers of a stage: what is more is a width
COUNT = re.compile(r"(?:layers?|depth|blocks?|stages?|num_hidden)$")
DEEPEST = 24  # layers, as a number: what is more, as in `num_hidden=256`, is a width
PARTS = re.compile(r"^(?:num|n)_(?:kernels|branches|convs|repeats|scales|units|convolutions)$")
WIDTH = re.compile(
    r"^(?:d_?model|dim|embed_dim|emb_dim|hidden_(?:size|dim)|width|channels|num_features|features)$"
)
KERNEL = re.compile(r"(?:^|_)(?:kernel|ksize)(?:_size)?$")
DILATION = re.compile(r"^dilation(?:_rate|_factor)?$")
DIMENSIONS = re.compile(r"^(?:spatial_dims|n_?dims?|num_dims|dimensions?)$")
KEY_HEADS = re.compile(r"^(?:num_|n_)?(?:kv|key_value|kv_attention)_?heads?$|^(?:num_|n_)(?:heads?_?kv|kv)$")
HEADS = re.compile(r"^(?:num_|n_?)?(?:(?:attention|attn|query|q)_?)?heads?$")
WIDTHS = re.compile(r"(?:^|_)(?:in|out|inp|oup)|ch|planes|dim|width|feat|filters")
STRIDE = re.compile(r"^strides?$")
SIDES = re.compile(r"size|resolution|shape")
RECTANGLE = "a rectangle"
SPACE = "a number of dimensions"
SHARED = "keys shared by two heads each"
HEADED = "another number of heads"
KERNELS = "a kernel"
OWN = "a width of its own"
LEAST = "the least kernel"
STRIDED = "a stride where the widths are equal"
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


@dataclass(frozen=True, slots=True)
class Argument:
    """What says which values an argument of a constructor, or a field of its config, may take."""

    name: str  # of a field: `config.dropout`
    default: Any = inspect.Parameter.empty
    annotation: Any = None


def options(
    cls: type[nn.Module], given: Mapping[str, Any], fields: Sequence[Argument] = ()
) -> Iterator[Option]:
    """For each argument, and field of a config, the values that it may take besides the one given; each value once.

    Args:
        cls: the class.
        given: its arguments that are not at their defaults, and the values of the fields.
        fields: of configs among its arguments.
    """
    try:
        parameters = inspect.signature(cls.__init__).parameters
    except (TypeError, ValueError):
        return
    compared, treated, optional = comparisons.uses(cls).values, questions.of_odd(cls), questions.of_none(cls)
    paired = questions.of_pairs(cls) | {
        name for name, one in parameters.items() if allowed.takes_several(one.annotation)
    }
    is_padded = any("pad" in name for name in parameters)
    values = {name: given.get(name, parameter.default) for name, parameter in parameters.items()}
    several = {name: value for name, value in values.items() if isinstance(value, list | tuple)}
    axes = next((values[name] for name in values if DIMENSIONS.search(name)), 2)
    own = {name: values.get(other) for name, other in widths.copied(cls).items()}
    for name in names(cls):
        parameter, current = parameters[name], values[name]
        found = (
            *_of(Argument(name, parameter.default, parameter.annotation), current, compared, treated),
            *_of_heads(name, current, values),
            *_wider(name, current, own.get(name)),
            *_otherwise(
                name,
                current,
                is_optional=name in optional,
                axes=axes if name in paired and axes in (2, 3) else 0,
                is_padded=is_padded,
            ),
        )
        for option in _once(found, current):  # `stride=[1, 1]` is of two dimensions, too
            is_space = option.why == SPACE
            yield replace(option, beside=_of_axes(several, current, option.value)) if is_space else option
    yield from _strided(cls, values)
    for field in fields:
        current = given[field.name]
        found = (*_of(field, current, compared, treated), *_of_heads(field.name, current, given))
        yield from _once(found, current)


def _once(found: Iterable[Option], current: Any) -> Iterator[Option]:
    seen = [current]
    for option in found:
        if not any(type(option.value) is type(other) and option.value == other for other in seen):
            seen.append(option.value)
            yield option


def _of_heads(name: str, current: Any, values: Mapping[str, Any]) -> Iterator[Option]:
    """Half as many heads of keys and values as of queries, where there are as many; a number that is no power of two."""
    owner, dot, plain = name.rpartition(".")
    beside = {one: value for one, value in values.items() if one.rpartition(".")[:2] == (owner, dot)}
    heads = next((v for one, v in beside.items() if HEADS.search(one.rpartition(".")[2])), None)
    is_even = type(heads) is int and heads % 2 == 0
    if is_even and KEY_HEADS.search(plain) and (current is None or current == heads):
        yield Option(name, heads // 2, SHARED)  # type: ignore[operator]
    if type(current) is int and HEADS.search(plain):
        others = [value for one, value in beside.items() if one != name and type(value) is int]
        shared = [value for value in others if value >= current and value % current == 0]
        fitting = [n for n in (6, 3, 12, 5) if n != current and all(value % n == 0 for value in shared)]
        yield from (Option(name, n, HEADED) for n in fitting[:1] if max(shared, default=0) > current)


def _wider(name: str, current: Any, other: Any) -> Iterator[Option]:
    """Twice as much as the argument whose value it takes where it is None."""
    if current is None and type(other) is int and other > 1:
        yield Option(name, 2 * other, OWN)


def _strided(cls: type[nn.Module], values: Mapping[str, Any]) -> Iterator[Option]:
    """Steps of two where a shortcut asks but whether the widths are equal, and they are."""
    for pair in questions.of_equals(cls):
        if all(type(values.get(name)) is int and WIDTHS.search(name) for name in pair):
            strides = [name for name, value in values.items() if STRIDE.match(name) and value == 1]
            yield from (Option(name, 2, STRIDED, ((pair[1], values[pair[0]]),)) for name in strides)
            return


def _of(
    argument: Argument, current: Any, all_compared: Mapping[str, Texts], treated: set[str]
) -> Iterator[Option]:
    name, default = argument.name, argument.default
    scope, compared, is_treated = (
        allowed.values(argument.annotation),
        all_compared.get(name, ()),
        name in treated,
    )
    is_given = default is not inspect.Parameter.empty
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
    # -2 is which of them, seen from the end.
    is_count = type(current) is int and 0 <= current <= DEEPEST
    if is_count and (COUNT.search(name) or PARTS.match(name)):
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
        yield Option(name, 3 if current != 3 else 5, KERNELS)  # noqa: PLR2004 - the usual odd ones
        yield Option(name, 1, LEAST)
    if current == 1 and DILATION.match(name) and not is_padded:
        yield Option(name, 2, "a dilation")
    if type(current) is int and DIMENSIONS.search(name) and current in (2, 3):
        yield Option(name, 5 - current, SPACE)
    sides = current if isinstance(current, tuple | list) else (current,) * axes
    is_square = len(sides) in (2, 3) and all(type(side) is int for side in sides) and len({*sides}) == 1
    if is_square and SIDES.search(name) and not KERNEL.search(name):
        yield Option(name, (*sides[:-1], 2 * sides[-1]), RECTANGLE)


def _is_plain(value: Any) -> bool:
    return isinstance(value, bool | int | float | str | None) or (
        type(value) is tuple and all(map(_is_plain, value))
    )


def current(cls: type[nn.Module], given: Mapping[str, Any], name: str) -> Any:
    """The value that an argument has."""
    return given[name] if name in given else inspect.signature(cls.__init__).parameters[name].default


def zero_rates(cls: type[nn.Module], given: Mapping[str, Any]) -> list[str]:
    """The arguments that are rates, as of a dropout, and zero."""
    rates = ((name, current(cls, given, name)) for name in names(cls) if PROBABILITY.search(name))
    return [name for name, value in rates if type(value) in (int, float) and value == 0]


def names(cls: type[nn.Module], given: Iterable[str] = ()) -> list[str]:
    """The names of the arguments, variadic ones left out; and of the fields of configs among those given."""
    parameters = [*inspect.signature(cls.__init__).parameters.values()][1:]
    own = [parameter.name for parameter in parameters if parameter.kind not in _VARIADIC]
    return [*own, *(name for name in given if "." in name)]


def of_one_layer(cls: type[nn.Module], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that count layers, and those that do so by stage, with one layer of each."""
    found: dict[str, Any] = {}
    for name in names(cls, given):
        value = current(cls, given, name)
        if not (COUNT.search(name.removesuffix("s")) or COUNT.search(name)):
            continue
        if type(value) is int:
            found[name] = 1
        elif isinstance(value, list | tuple) and all(type(part) is int and part <= MOST for part in value):
            found[name] = type(value)([1] * len(value))
    return found


def is_idle(option: Option, cls: type) -> bool:
    """Whether few would ask for it: an odd size, or a pool of one number."""
    return option.why == ODD or (option.why == LEAST and "Pool" in cls.__name__)
