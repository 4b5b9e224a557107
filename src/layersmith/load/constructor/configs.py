"""Config objects: the real class made small, or a stand-in that has a value for every attribute."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import re
from collections.abc import Mapping
from types import FunctionType
from typing import Any

from torch import nn

from layersmith.load.constructor import names, settings, standins
from layersmith.load.constructor.any_settings import AnyConfig, AnyDict, consistent, scalar
from layersmith.load.constructor.trace import Usage
from layersmith.load.values import Made, realise, written

_CONFIG_CLASS = re.compile(r"(Config|Args|Arguments|Configuration|Params|Hparams|HParams|Options|Settings)$")
_SHRUNK = re.compile(
    r"size|dim|embd|embed|model|width|hidden|inner|ff|layers?$|depth|blocks?$|heads?$|vocab|channels|experts|len|ctx|top_?k"
)
_GROUPS = re.compile(r"^(n|num|top_?k)_(expert_)?groups?$")
_METHODS = frozenset(name for name in dir(dict) if not name.startswith("__"))  # of what reads like a dict
_NUMBERS = re.compile(r"^\d+([+,;x \-/_]+\d+)*$")
OF_LAYERS = frozenset({"children", "named_children"})  # what only a module has
_MODES = 3  # how many texts a setting is compared with are tried
_LARGE = 64  # what is at most this stays as the author wrote it


def configs(usage: Usage, scope: Mapping[str, Any], annotation: Any, cls: type | None = None) -> list[Any]:
    """Config values for a parameter: of its annotated class, of the config classes in its file, stand-ins.

    Args:
        usage: what is read from it.
        scope: the names that the constructor sees.
        annotation: of the parameter.
        cls: the class whose parameter it is; its project may say what the settings are.
    """
    is_class = inspect.isclass(annotation) and annotation not in (dict, object)
    found = [annotation] if is_class else [thing for thing in scope.values() if _is_config_class(thing)]
    made = [small(cls) for cls in found]
    fitting = [one for one in made if one is not None and _has_all(one, usage.attributes)]
    if is_class:
        return fitting
    return [*fitting, *_as_told(usage, cls), *_stand_ins(usage)]


def small(cls: type) -> Made | None:
    """A small instance of a config class, or its default one, or None if neither can be made."""
    for arguments in (_small_arguments(cls), {}):
        try:
            cls(**arguments)
        except Exception:  # noqa: BLE001, S112 - the next, more modest try may do
            continue
        text = ", ".join(f"{name}={written(value)}" for name, value in arguments.items())
        return Made(f"{cls.__name__}({text})", lambda chosen=arguments: cls(**chosen))  # type: ignore[misc]
    return None


def _is_config_class(thing: Any) -> bool:
    if not inspect.isclass(thing) or issubclass(thing, nn.Module):
        return False
    return bool(_CONFIG_CLASS.search(thing.__name__)) or dataclasses.is_dataclass(thing)


def _has_all(made: Made, attributes: set[str]) -> bool:
    config = made.make()
    return all(hasattr(config, attribute) for attribute in attributes)


def _small_arguments(cls: type) -> dict[str, Any]:
    """Small values for what is required, and for whole numbers whose defaults are large."""
    chosen: dict[str, Any] = {}
    for parameter in list(inspect.signature(cls).parameters.values()):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        default, known = parameter.default, names.known_integers(parameter.name)
        if default is parameter.empty:
            chosen[parameter.name] = scalar(parameter.name, parameter.annotation)
        elif type(default) is int and default < 0 and known:  # to be filled in later: vocab_size: int = -1
            chosen[parameter.name] = consistent(parameter.name, known)
        elif (
            type(default) is int
            and default > _limit(parameter.name, known)
            and _is_size(parameter.name, known)
        ):
            value = consistent(parameter.name, known)
            if value < default:
                chosen[parameter.name] = value
    return chosen | _in_proportion(cls, chosen)


def _in_proportion(cls: type, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """As many heads of keys as of queries where the defaults say so; few experts are of one group."""
    defaults = {name: one.default for name, one in inspect.signature(cls).parameters.items()}
    heads = {name: value for name, value in chosen.items() if name.endswith("heads")}
    as_many = {
        name: max(value for other, value in heads.items() if defaults[other] == defaults[name])
        for name in heads
    }
    has_experts = any("experts" in name for name in chosen)
    grouped = [n for n, value in defaults.items() if type(value) is int and value > 1 and _GROUPS.search(n)]
    return {**as_many, **dict.fromkeys(grouped if has_experts else (), 1)}


def _is_size(name: str, known: list[Any]) -> bool:
    return bool(_SHRUNK.search(name)) or known[:1] == [names.HEAD_WIDTH]


def _limit(name: str, known: list[Any]) -> int:
    """What a size may be at most: what heads, depths and choices among experts are made of stays in proportion."""
    if known[:1] == [names.HEAD_WIDTH]:  # heads times their width is the width
        return names.HEAD_WIDTH
    return 3 if re.search(r"layers?$|depth|blocks?$|heads?$|per_tok|top_?k", name) else _LARGE


def _known(usage: Usage) -> list[str]:
    return sorted(usage.keys if _is_dict(usage) else (usage.attributes - _METHODS) | usage.keys)


def _is_dict(usage: Usage) -> bool:
    """Whether it is read by keys alone: `cfg["depth"]`, but not `cfg.width` beside it, as ml_collections have it."""
    is_only_read = not usage.attributes & _METHODS - {"get"}
    return "dict" in usage.kinds and not (usage.attributes - _METHODS and is_only_read)


def _as_told(usage: Usage, cls: type | None, *, is_section: bool = False) -> list[Any]:
    """Stand-ins with what the project says of lists and texts, and with all that it says; none where it says nothing."""
    known = _known(usage)
    sections = [name for name in known if _is_section(usage.fields.get(name, Usage()))]
    said = (
        settings.told({*known} - {*sections}, cls, fewest=1 if is_section else 2) if cls is not None else {}
    )
    said = {name: _as_read(value, usage.fields.get(name, Usage())) for name, value in said.items()}
    guessed = {name: _field(name, usage.fields.get(name, Usage())) for name in known}
    other = settings.structured(said, guessed)
    inner = {
        name: made[-1] for name in sections if (made := _as_told(usage.fields[name], cls, is_section=True))
    }
    found = [_written_out(guessed | inner | more, usage) for more in (other, said) if said]
    return found or ([_written_out(guessed | inner, usage)] if inner else [])


def _is_section(usage: Usage) -> bool:
    """Whether a setting holds others: `config["model"]["depth"]`, `config.model.depth`."""
    own = {part for part in usage.attributes if not hasattr(str, part) and not hasattr(dict, part)}
    return bool(usage.keys) or ("sequence" not in usage.kinds and bool(own))


def _as_read(value: Any, usage: Usage) -> Any:
    """The numbers of an option's text where the class goes through a list: `"2+3+4"` is taken apart before."""
    is_list = "sequence" in usage.kinds and not usage.strings and isinstance(value, str)
    return [int(number) for number in re.split(r"\D+", value)] if is_list and _NUMBERS.match(value) else value


def _stand_ins(usage: Usage) -> list[Any]:
    """One for each mode that the class knows by a text; the first, where it knows none."""
    known = _known(usage)
    modes = max((len(dict.fromkeys(field.strings)) for field in usage.fields.values()), default=1)
    found = [_stand_in(known, usage, mode) for mode in range(min(max(modes, 1), _MODES))]
    found += _without_texts(known, usage)
    return found if "dict" in usage.kinds else [*found, Made("dict()", AnyDict)]


def _without_texts(known: list[str], usage: Usage) -> list[Any]:
    """One without the texts that the class asks for: a preset is named, or its sizes are given."""
    values = {name: _field(name, usage.fields.get(name, Usage())) for name in known}
    asked = {name for name in known if "optional" in usage.fields.get(name, Usage()).kinds}
    left = {name: None for name in asked if isinstance(values[name], str)}
    return [_written_out(values | left, usage)] if left else []


def _stand_in(known: list[str], usage: Usage, mode: int) -> Made:
    return _written_out({name: _field(name, usage.fields.get(name, Usage()), mode) for name in known}, usage)


def _written_out(values: dict[str, Any], usage: Usage) -> Made:
    text = ", ".join(f"{name}={written(value)}" for name, value in values.items())
    is_dict = _is_dict(usage)
    kind: type[AnyDict | AnyConfig] = AnyDict if is_dict else AnyConfig
    return Made(
        f"dict({text})" if is_dict else f"SimpleNamespace({text})",
        lambda: kind(realise(values)),
        parts=values,
        remade=lambda name, value: _written_out({**values, name: value}, usage),
    )


def _field(name: str, usage: Usage, mode: int = 0) -> Any:
    """A value for an attribute or key: what the constructor takes where it is missing, or a guess."""
    if usage.attributes & {"items", "values"}:  # a vocabulary, the names of classes
        return {"0": "a", "1": "b"}
    if "literal" in usage.kinds:  # a text that Python shall read
        return "[2, 3]"
    if usage.attributes & OF_LAYERS:
        return standins.LAYERS
    if any(isinstance(one.default, FunctionType) for one in usage.passed_as):  # `activation=F.relu`
        return standins.callables(name, is_called_in_constructor=False)[0]
    is_told = usage.default is not inspect.Parameter.empty and (usage.default or usage.default is False)
    return copy.deepcopy(usage.default) if is_told else _guess(name, usage, mode)  # 0 and None: "not set"


def _guess(name: str, usage: Usage, mode: int) -> Any:
    """A value by what the constructor does with it, else by its name."""
    texts = [one.default for one in usage.passed_as if isinstance(one.default, str)][:1]
    if usage.strings or texts:  # whoever gets it has an example
        options = list(dict.fromkeys(usage.strings or texts))
        return options[mode % len(options)]
    if "tensor" in usage.kinds:  # where a table may be left out, it is
        return None if "optional" in usage.kinds else next(standins.tensors(name))
    becomes_settings = any(names.CONFIG.search(names.plain(parameter.name)) for parameter in usage.passed_as)
    if _is_section(usage) or becomes_settings:
        return _stand_ins(usage)[0]
    is_number = any(names.known_integers(parameter.name) for parameter in usage.passed_as)
    if "shape" in name and not is_number:
        return (names.WIDTH,)
    if names.says_nothing(name) and (usage.is_flag or usage.passed_as):
        return False if usage.is_flag else scalar(usage.passed_as[0].name, usage.passed_as[0].annotation)
    value = scalar(name, float if names.is_real(name) else None)
    is_list = "sequence" in usage.kinds and not isinstance(value, str)
    return [value] * max(2, usage.length) if is_list else value
