"""The values worth trying for one constructor parameter, the likeliest first."""

from __future__ import annotations

import collections.abc
import enum
import inspect
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.load import abstract
from layersmith.load.constructor import configs, evidence, names, ranges, spread, standins
from layersmith.load.constructor.any_settings import AnyDict
from layersmith.load.constructor.paths import opened
from layersmith.load.constructor.trace import Usage
from layersmith.load.values import TensorSpec

_A_WORD = 6  # letters of a name that says something: encoder
_COUNTED = re.compile("dilat|padd|stride|expan|reduc|kernel|group|channel")  # `dilation` is no DilationBlock
_HEIRS = 3  # of an abstract class that are tried for an argument
_SEQUENCES = (list, tuple, collections.abc.Sequence, collections.abc.Iterable)
_PLAIN: Mapping[Any, Any] = {
    torch.dtype: [torch.float32],
    torch.device: [torch.device("cpu")],
    torch.Size: [torch.Size([4, names.WIDTH])],
    dict: [{}],
    bool: [False, True],
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is known of a parameter: its name and annotation, how the constructor uses it, and its scope."""

    name: str
    annotation: Any = None
    usage: Usage = field(default_factory=Usage)
    scope: Mapping[str, Any] = field(default_factory=dict)
    builders: Any = None  # (class) -> Made | None, to build a module-valued argument of a known class
    cls: type[nn.Module] | None = None

    def of(self, annotation: Any) -> Wanted:
        """The same parameter under another annotation."""
        return replace(self, annotation=annotation)


def candidates(wanted: Wanted) -> list[Any]:
    """Values for a parameter; never empty."""
    annotation = evaluated(wanted.annotation, wanted.scope)
    found = list(_by_annotation(wanted.of(annotation)))
    if not found or annotation in (None, Any, object):
        found = [*evidence.texts(wanted.usage), *found, *spread.handed_on(wanted, candidates)]
        found += [*_by_config(wanted), *_by_usage(wanted), *_by_name(wanted)]
    found = ranges.within(wanted.cls, wanted.name, unique(found))
    return opened(wanted.usage, wanted.name, wanted.cls, found) if "path" in wanted.usage.kinds else found


def evaluated(annotation: Any, scope: Mapping[str, Any]) -> Any:
    """An annotation as an object; None for none, and for text that means nothing here."""
    if annotation is inspect.Parameter.empty:
        return None
    if isinstance(annotation, str):
        try:
            return eval(annotation, {**vars(typing), **scope})  # noqa: S307 - what Python itself would do with it
        except Exception:  # noqa: BLE001 - names imported for type checkers only
            return None
    return annotation


def unique(values: Iterable[Any]) -> list[Any]:
    """The values without repetition; True and 1 are not the same."""
    found: list[Any] = []
    for value in values:
        if not any(type(value) is type(other) and same(value, other) for other in found):
            found.append(value)
    return found


def same(one: Any, other: Any) -> bool:
    """Whether two values are one object, or equal."""
    try:
        return one is other or bool(one == other)
    except Exception:  # noqa: BLE001 - objects that cannot be compared are not the same
        return False


def _by_annotation(wanted: Wanted) -> Iterator[Any]:
    annotation = wanted.annotation
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        is_text = any(
            pattern.search(names.plain(wanted.name)) for pattern in (names.NORM, names.ACTIVATION, names.TEXT)
        )
        for part in sorted(arguments, key=lambda part: is_text and part is not str):  # `act: tuple | str`
            yield from candidates(wanted.of(part))[:4] if part is not type(None) else ()
        yield from [None] if type(None) in arguments else []
    elif origin is typing.Literal:
        yield from arguments
    elif origin is typing.Annotated:
        yield from candidates(wanted.of(arguments[0]))
    elif origin in _SEQUENCES or annotation in (list, tuple):
        yield from _sequences(wanted, origin or annotation, arguments)
    elif origin is collections.abc.Callable or annotation is collections.abc.Callable:
        yield from standins.callables(wanted.name, is_called_in_constructor="callable" in wanted.usage.kinds)
    elif origin is type:
        kinds = [kind for part in arguments for kind in (part, *typing.get_args(part))]  # type[A | B], too
        yield from [kind for kind in kinds if inspect.isclass(kind) and kind is not nn.Module]
        yield from standins.callables(wanted.name, is_called_in_constructor=True)
    elif inspect.isclass(annotation):
        yield from _by_class(wanted, annotation)


def _by_class(wanted: Wanted, annotation: type) -> Iterator[Any]:
    if annotation is str:
        yield from [*wanted.usage.strings, *names.texts(wanted.name)]
    elif annotation is float:
        yield from names.floats(wanted.name)
    elif annotation is int:
        yield from _integers(wanted)
    elif annotation is dict and wanted.usage.keys:
        yield from configs.configs(wanted.usage, wanted.scope, None, wanted.cls)
    elif annotation in _PLAIN:
        yield from _PLAIN[annotation]
    elif issubclass(annotation, enum.Enum):
        yield from annotation
    elif issubclass(annotation, Tensor):
        yield from (TensorSpec((names.WIDTH,)), TensorSpec((3, 3)), TensorSpec((names.WIDTH, names.WIDTH)))
    elif issubclass(annotation, nn.Module):
        yield from _modules_of(wanted, annotation)
    elif annotation.__module__ not in ("builtins", "typing"):
        yield from configs.configs(wanted.usage, wanted.scope, annotation)


def _modules_of(wanted: Wanted, annotation: type[nn.Module]) -> Iterator[Any]:
    if annotation is nn.Module:
        yield from _by_evidence(wanted)
    if annotation is nn.ModuleList:
        yield from standins.several()
    if annotation is not nn.Module and wanted.builders is not None:
        for cls in abstract.descendants(annotation)[:_HEIRS] or [annotation]:
            yield from [built] if (built := wanted.builders(cls)) is not None else []
    yield from standins.modules(wanted.name, attributes=wanted.usage.attributes)


def _sequences(wanted: Wanted, kind: Any, arguments: tuple[Any, ...]) -> Iterator[Any]:
    make = tuple if kind is tuple else list
    items = [part for part in arguments if part is not Ellipsis]
    item = items[0] if items else int
    if inspect.isclass(item) and issubclass(item, nn.Module):
        yield make([standins.ANY_MODULE] * 2)
        return
    if kind is tuple and items and Ellipsis not in arguments:
        yield tuple(candidates(wanted.of(part))[0] for part in items)
    yield from _repeated(wanted.of(item), make)


def _repeated(wanted: Wanted, make: Any) -> Iterator[Any]:
    """Lists of one likely value, of two members first; growing widths where the name is that of a width."""
    if "anchor" in wanted.name:
        yield make([(10, 13), (16, 30), (33, 23)])
    is_counted = wanted.usage.length > 0 and not wanted.usage.kinds & {"module"}
    usage = wanted.usage.item or (Usage({"number"}) if is_counted else Usage())
    becomes = [parameter.name for parameter in usage.passed_as if names.known_integers(parameter.name)]
    word = becomes[0] if becomes else wanted.name.rstrip("s") or wanted.name
    single = Wanted(word, wanted.annotation, usage, wanted.scope, cls=wanted.cls)
    base = _unpacked(single) if usage.parts else candidates(single)[0]
    if isinstance(base, list | tuple):
        yield from (make([base, base]), make([base]), base)
        return
    is_index = base == 0 and names.INDEX.search(names.plain(word))  # of several, each another
    is_width = type(base) is int and base in (names.WIDTH, *names.SEVERAL)
    if wanted.usage.length:
        yield make([base] * wanted.usage.length)
    if is_width:
        growing = [names.WIDTH // 2, names.WIDTH, 2 * names.WIDTH, 4 * names.WIDTH]
        yield from (make([names.HIDDEN, names.WIDTH]), make([names.WIDTH] * 2), make(growing))
    yield from (make(range(count) if is_index else [base] * count) for count in (2, 4, 3, 1))


def _unpacked(wanted: Wanted) -> tuple[Any, ...]:
    """One value for each part into which a loop unpacks an item: `for count, width in sizes`."""
    return tuple(candidates(replace(wanted, name="", usage=part))[0] for part in wanted.usage.parts)


def _by_config(wanted: Wanted) -> Iterator[Any]:
    yield from standins.layers(wanted.usage.attributes)
    own = evidence.VALUE_METHODS - configs.OF_LAYERS  # `cnn.features.children()`
    is_nested = any(part.attributes - own for part in wanted.usage.fields.values())
    is_config = is_nested or bool(names.CONFIG.search(names.plain(wanted.name)))
    is_config |= evidence.is_of_settings(wanted.usage, wanted.name, wanted.cls)
    if is_config and not wanted.usage.kinds & {"number", "module", "tensor", "sequence"}:
        yield from configs.configs(wanted.usage, wanted.scope, None, wanted.cls)
    elif "dict" in wanted.usage.kinds:
        yield AnyDict()


def _by_usage(wanted: Wanted) -> Iterator[Any]:
    name, kinds, is_sequence = names.plain(wanted.name), wanted.usage.kinds, "sequence" in wanted.usage.kinds
    yield from standins.of_nodes(wanted.name, kinds, wanted.usage.passed_as)
    if "tensor" in kinds:
        yield from standins.tensors(name)
    is_shape = names.SHAPE.search(name) or (is_sequence and names.SHAPE_TAKEN_APART.search(name))
    if is_shape and wanted.usage.length in (0, 1, 3):
        yield from names.SHAPES
    if names.ACTIVATION.search(name) and not wanted.usage.strings:
        if not kinds & {"callable", "module"}:
            yield from names.texts(name)[:2]
        yield from standins.callables(name, is_called_in_constructor="callable" in kinds)
    elif "callable" in kinds:
        yield from evidence.makers(wanted.usage, name, wanted.cls, wanted.scope)
        yield from standins.callables(name, is_called_in_constructor=True)
    elif is_sequence and evidence.are_modules(wanted.usage, wanted.name):
        item = wanted.usage.item or Usage()
        yield from standins.several(item.outputs, len(item.parts), is_registered="module" in kinds)
    elif is_sequence:
        yield from _repeated(wanted, list)
    elif "module" in kinds:
        yield from [*_namesakes(wanted), *_by_evidence(wanted)]
        yield from standins.modules(name, outputs=wanted.usage.outputs, attributes=wanted.usage.attributes)


def _by_name(wanted: Wanted) -> Iterator[Any]:
    name = names.plain(wanted.name)
    is_real = names.is_real(name) and "number" not in wanted.usage.kinds
    if wanted.usage.passed_as and not names.known_integers(name) and not is_real:
        yield from _by_alias(wanted)
    becomes = [names.plain(parameter.name) for parameter in wanted.usage.passed_as]
    if len(name) == 1 and any(
        names.MODULE.search(other) for other in becomes
    ):  # `Deterministic(f)`, of its net
        yield from standins.modules(name)
    if names.is_flag(name) or (wanted.usage.is_flag and names.says_nothing(name)):
        yield from (False, True)
    elif names.NORM.search(name):
        yield from [*standins.callables(name, is_called_in_constructor=True)[:2], "batch", "layer", False]
    elif "device" in name:
        yield "cpu"
    elif "dtype" in name:
        yield torch.float32
    elif names.TEXT.search(name) and not names.is_of_width(name, wanted.cls):
        yield from [*names.texts(name), 1, None]
    elif names.is_real(name):
        yield from [*names.floats(name), 1]
    else:
        yield from [*_namesakes(wanted), *_by_evidence(wanted)]
        is_counted = re.match(r"(dim|num|n)_", name) and names.known_integers(name)
        is_number = "number" in wanted.usage.kinds or wanted.usage.passed_as or is_counted
        if names.MODULE.search(name) and not is_number:
            yield from standins.modules(name)
    yield from _integers(wanted)
    yield from ([names.WIDTH, names.WIDTH], 0.5, (8, 8), standins.ANY_MODULE, True, "default")


def _by_alias(wanted: Wanted) -> Iterator[Any]:
    """What the parameter is passed on as: `inp` that becomes `in_channels`."""
    for parameter in wanted.usage.passed_as:
        if parameter.annotation in (bool, "bool") or names.is_flag(parameter.name):
            yield from (False, True)
        elif names.known_integers(parameter.name):
            yield from names.known_integers(parameter.name)
        elif names.is_real(parameter.name):
            yield from names.floats(parameter.name)


def _integers(wanted: Wanted) -> Iterator[Any]:
    if not names.known_integers(wanted.name):
        for parameter in wanted.usage.passed_as:
            yield from names.known_integers(parameter.name)
        yield from (2, 3, 4) if "count" in wanted.usage.kinds else ()
    yield from names.integers(wanted.name)


def _by_evidence(wanted: Wanted) -> Iterator[Any]:
    """Instances of module classes near at hand that have the attributes which are read from the argument."""
    if wanted.builders is None or wanted.cls is None or "number" in wanted.usage.kinds:
        return
    for cls in evidence.classes_having(wanted.usage.attributes, wanted.name, wanted.cls):
        built = wanted.builders(cls)
        if built is not None:
            yield built


def _namesakes(wanted: Wanted) -> Iterator[Any]:
    """Instances of the module classes in scope that bear the parameter's name."""
    name = names.plain(wanted.name).replace("_", "")
    is_word = len(name) >= _A_WORD and not _COUNTED.search(name)
    for thing in list(wanted.scope.values()) if wanted.builders is not None and len(name) > 2 else ():  # noqa: PLR2004
        is_module = inspect.isclass(thing) and issubclass(thing, nn.Module)
        is_users = is_module and not thing.__module__.startswith("torch.nn")
        known = thing.__name__.lower().strip("_") if is_users else ""
        is_part = is_word and thing is not wanted.cls and known.startswith(name) | known.endswith(name)
        if known == name or (known and is_part):
            yield from [built] if (built := wanted.builders(thing)) is not None else []
