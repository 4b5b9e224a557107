"""A module with what is known of its forward: parameters, clues, what the constructor was told."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from layersmith.load.call.clue import BATCH, Clue
from layersmith.load.call.reading import module_clue, parameter_clue
from layersmith.load.call.stated import annotated_clue, documented_clue
from layersmith.load.call.syntax import first_input, keys_of
from layersmith.load.constructor import dry_run
from layersmith.load.constructor.any_settings import AnyConfig
from layersmith.load.constructor.candidates import evaluated
from layersmith.load.constructor.names import CONFIG, plain
from layersmith.load.values import Made, TensorSpec
from layersmith.probe import source
from layersmith.probe.sequence import TOGETHER

_WIDTH = r"(dims?|features?|feats?|channels?|width|ch)"
_TYPED = {
    **dict.fromkeys((torch.LongTensor, torch.IntTensor), torch.int64),
    torch.BoolTensor: torch.bool,
}
_SECTIONS = 2  # within each other
State = dict[str, Any]  # parameter of forward -> description of its argument


@dataclass(frozen=True, slots=True)
class Callee:
    """A module with what is known of its forward."""

    module: nn.Module
    arguments: Mapping[str, Any]  # of the constructor, defaults included
    parameters: Mapping[str, inspect.Parameter]
    clues: Mapping[str, Clue]
    scope: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, int] = field(default_factory=dict)  # the numbers of its config objects
    given: Mapping[str, int] = field(default_factory=dict)  # those of the modules that it is given

    @classmethod
    def of(cls, module: nn.Module, arguments: Mapping[str, Any]) -> Callee:
        """Read the module's forward."""
        forward = inspect.unwrap(source.forward(type(module)))
        taken = list(inspect.signature(source.forward(type(module))).parameters.items())
        signature = taken[first_input(type(module)) :]
        parameters = {name: p for name, p in signature if p.kind is not p.VAR_KEYWORD}
        rest = next((name for name, p in signature if p.kind is p.VAR_KEYWORD), "")
        node = source.function_node(forward) if rest else None
        wanted = keys_of(node, rest) if node is not None else []
        parameters |= {name: inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in wanted}
        bound = {**_defaults(type(module)), **arguments}
        scope = getattr(forward, "__globals__", {})
        clues = {
            name: _clue(module, position, parameter, bound, scope)
            for position, (name, parameter) in enumerate(parameters.items())
        }
        clues |= {name: parameter_clue(module, name, within=rest) for name in wanted}
        return cls(
            module, bound, parameters, _shared(clues), scope, _settings(arguments), _given(module, arguments)
        )

    @property
    def required(self) -> list[str]:
        """The parameters without a default; where there is none, the first, or all of *inputs."""
        needed = [
            n for n, p in self.parameters.items() if p.default is p.empty and p.kind is not p.VAR_POSITIONAL
        ]
        return needed or list(self.parameters)[:1]

    @property
    def dry_run(self) -> State | None:
        """What the constructor itself ran through its layers, for the only input there is; None where it did not."""
        shape = dry_run.shape(self.module)
        is_only = bool(shape) and len(self.required) == 1
        return {self.required[0]: TensorSpec((BATCH, *shape[1:]), free=frozenset({0}))} if is_only else None

    @property
    def widths(self) -> set[int]:
        """The numbers that the constructor was told, also as many times as the class says by its `expansion`."""
        told = {value for value in self.arguments.values() if type(value) is int}
        times = getattr(self.module, "expansion", 1)
        return told | {times * width for width in told} if type(times) is int else told

    def annotation(self, name: str) -> Any:
        """The parameter's annotation as an object, or None."""
        return evaluated(self.parameters[name].annotation, self.scope)

    def namesake_size(self, word: str) -> int:
        """What the constructor, or that of a module which it is given, was told for the width of this very input.

        It is `state_dim` for `state`; 0 where there is none.
        """
        own = re.escape(re.sub(r"^(x|next|new|prev|last)_", "", word))
        pattern = re.compile(rf"^_?({own}_?{_WIDTH}|({_WIDTH}|n|num|d)_{own})$")
        return self.told(pattern) or next((v for n, v in self.given.items() if pattern.match(n)), 0)

    def told(self, pattern: re.Pattern[str]) -> int:
        """A whole number that the constructor got for a parameter of such a name; 0 if there is none."""
        known = {**self.settings, **self.arguments}
        found = [value for name, value in known.items() if pattern.match(name)]
        return next((value for value in found if type(value) is int and value > 0), 0)


def _settings(arguments: Mapping[str, Any]) -> dict[str, int]:
    """The whole numbers that a config object or dict among the arguments holds, also in its sections."""
    found: dict[str, int] = {}
    for name, value in arguments.items():
        made = value.make() if isinstance(value, Made) and CONFIG.search(plain(name)) else value
        is_config = isinstance(made, dict | AnyConfig) or made is not value
        held = made if isinstance(made, dict) else getattr(made, "__dict__", {})
        found |= dict(_numbers(held, _SECTIONS)) if is_config else {}
    return found


def _numbers(held: Mapping[Any, Any], depth: int) -> Iterator[tuple[str, int]]:
    for name, value in held.items():
        if type(value) is int and isinstance(name, str):
            yield name, value
        elif depth and isinstance(value, dict | AnyConfig):
            yield from _numbers(value if isinstance(value, dict) else vars(value), depth - 1)


def _given(module: nn.Module, arguments: Mapping[str, Any]) -> dict[str, int]:
    """The whole numbers that the constructors of such modules were told, or take by default."""
    made = {name for name, value in arguments.items() if isinstance(value, Made) and not value.is_stand_in}
    found: dict[str, int] = {}
    for part in (part for name, part in module.named_children() if name in made):
        told = _defaults(type(part))
        held = {name: vars(part).get(name, value) for name, value in told.items()}
        found |= {name: value for name, value in held.items() if type(value) is int}
    return found


def _shared(clues: dict[str, Clue]) -> dict[str, Clue]:
    """What is known of the rank of queries, keys or values is so of those that come with them."""
    for group in (group for group in TOGETHER if group <= clues.keys()):
        told = (clues[n] for n in clues if n in group and (clues[n].rank or clues[n].min_rank > 1))
        known = next(told, None)
        if known is not None:
            silent = [n for n in group if not (clues[n].rank or clues[n].says_size or clues[n].dtype)]
            like = Clue(rank=known.rank, min_rank=known.min_rank, names=known.names)
            clues |= {name: clues[name].merged(like) for name in silent}
    return clues


def _defaults(cls: type) -> dict[str, Any]:
    """The defaults of the constructor's parameters, those of the bases included."""
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        if base in (nn.Module, object):
            break
        if "__init__" in vars(base):
            parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
            found = {**{p.name: p.default for p in parameters if p.default is not p.empty}, **found}
    return found


def _clue(
    module: nn.Module,
    position: int,
    parameter: inspect.Parameter,
    arguments: Mapping[str, Any],
    scope: Mapping[str, Any],
) -> Clue:
    """What is stated is believed first, then the source, then the documentation."""
    sizes = {key: value for key, value in arguments.items() if type(value) is int}
    annotation = evaluated(parameter.annotation, scope)
    stated = annotated_clue(annotation, sizes)
    if stated is not None:
        return stated
    if type(module).__module__.startswith("torch.nn"):
        return module_clue(module, position, keyword=parameter.name)
    read = parameter_clue(module, parameter.name).merged(documented_clue(type(module), parameter.name, sizes))
    dtype = _typed(annotation)
    return replace(read, dtype=dtype) if dtype is not None else read


def _typed(annotation: Any) -> torch.dtype | None:
    """The dtype of the old tensor types that people annotate with: `tags: torch.LongTensor`."""
    parts = typing.get_args(annotation) or (annotation,)
    return next(
        (_TYPED[part] for part in parts if type(part) is type(torch.LongTensor) and part in _TYPED), None
    )
