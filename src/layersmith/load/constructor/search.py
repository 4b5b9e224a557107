"""The search for constructor arguments: the likeliest first, repaired after errors, varied after success."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from layersmith.load.abstract import unwritten
from layersmith.load.attempt import Deadline, OutOfBudget, contained
from layersmith.load.certain import is_built_wrong
from layersmith.load.constructor import callsites, devices, dry_run, names, placeholders, settings
from layersmith.load.constructor.asked import asked_by
from layersmith.load.constructor.candidates import Wanted, candidates, unique
from layersmith.load.constructor.repair import Arguments, repaired
from layersmith.load.constructor.smaller import of_one_width, smaller
from layersmith.load.constructor.standins import ANY_MODULE
from layersmith.load.constructor.told import told_kind
from layersmith.load.constructor.usage import REST, constructor, hands_up, takes_the_rest, usages
from layersmith.load.values import Made, realise, written
from layersmith.probe import source
from layersmith.subject import Construction as Recipe

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
UNINITIALISED = "before Module.__init__() call"  # in what torch says of a missing super().__init__()
_OF_FILE, _OF_PROJECT = "from a call in the file", "from a call in the project"
SMALL = ", made small"  # ends what is said of arguments that were cut down
_AXES = re.compile(r"^(dims|axes)$")
_PATIENCE = 6  # errors, before what the project says is asked
_DEEPEST = 2  # how far module-valued arguments may nest


@dataclass(frozen=True, slots=True)
class Construction:
    """Arguments with which a class can be built, where they come from, and a module so built."""

    cls: type[nn.Module]
    arguments: Arguments
    how: str
    module: nn.Module = field(compare=False)

    def build(self) -> nn.Module:
        """A fresh module."""
        return construct(self.cls, self.arguments)

    @property
    def recipe(self) -> Recipe:
        """The same without the module: what a Subject keeps."""
        return Recipe(self.cls, dict(self.arguments), construct, str(self))

    def __str__(self) -> str:
        """As in source: `Block(64, heads=4)`."""
        return call_text(self.cls, self.arguments)


def construct(cls: type[nn.Module], arguments: Mapping[str, Any], *, is_forgiving: bool = True) -> nn.Module:
    """Build the class: positional-only and variadic parameters included.

    Args:
        cls: the class.
        arguments: by the constructor's parameter; descriptions are made.
        is_forgiving: whether to build also what does not call `super().__init__()` first, for a rule to tell.
    """
    parameters = inspect.signature(constructor(cls)).parameters
    made = {name: realise(value) for name, value in arguments.items()}
    leading: set[Any] = {inspect.Parameter.POSITIONAL_ONLY}
    if any(parameters[name].kind is inspect.Parameter.VAR_POSITIONAL for name in made if name in parameters):
        leading.add(inspect.Parameter.POSITIONAL_OR_KEYWORD)  # what `*args` follow
    positional = []
    for name, parameter in parameters.items():
        if parameter.kind in leading and name in made:
            positional.append(made.pop(name))
        if parameter.kind is parameter.VAR_POSITIONAL and name in made:
            positional += made.pop(name)
    try:
        module = dry_run.watched(lambda: cls(*positional, **made))
    except AttributeError as error:
        if not (is_forgiving and UNINITIALISED in str(error)):
            raise
    else:
        if not is_forgiving or "_modules" in vars(module):
            return module
    return _initialised_first(cls, positional, made)


def _initialised_first(cls: type[nn.Module], args: list[Any], kwargs: dict[str, Any]) -> nn.Module:
    """What the constructor would build if it began with `super().__init__()`."""
    module = cls.__new__(cls)
    nn.Module.__init__(module)
    before = {name: vars(module)[name] for name in ("_modules", "_parameters", "_buffers")}
    module.__init__(*args, **kwargs)  # type: ignore[misc]
    for name, held in before.items():  # a later super().__init__() threw these away
        vars(module)[name] = {**held, **vars(module)[name]}
    return module


def call_text(cls: type, arguments: Arguments) -> str:
    """A call as a person would write it: leading required arguments by position, the others by name."""
    parts: list[str] = []
    by_position = True
    for name, value in arguments.items():
        parameter = inspect.signature(constructor(cls)).parameters.get(name)
        if parameter is not None and parameter.kind is parameter.VAR_POSITIONAL:
            parts += [written(item) for item in value]
            continue
        by_position = (
            by_position
            and parameter is not None
            and parameter.default is parameter.empty
            and parameter.kind is not parameter.KEYWORD_ONLY
        )
        parts.append(written(value) if by_position and len(parts) < 3 else f"{name}={written(value)}")  # noqa: PLR2004
    return f"{cls.__name__}({', '.join(parts)})"


class ConstructorSearch:
    """One class's search: `constructions` yields what could be built, the likeliest first."""

    def __init__(self, cls: type[nn.Module], *, depth: int = 0) -> None:
        self.cls = cls
        self.depth = depth
        self.errors: list[str] = []  # of constructor calls that failed, in order
        self.slip: Arguments | None = None  # of the first that no arguments mend
        self.unwritten = ""  # the method of its own that its constructor calls, and that others must write
        self.closest: Arguments = {}  # of the first error
        self.complaints: list[str] = []  # of forward, about what was built
        parameters = list(inspect.signature(constructor(cls)).parameters.values())[1:]
        self.parameters = {p.name: p for p in parameters if p.kind not in _VARIADIC}
        self.variadic = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "")
        self.required = [name for name, p in self.parameters.items() if p.default is p.empty]
        self.literals = callsites.literals(cls)
        self.known: dict[str, list[Any]] = {}
        self.is_told = depth > 0  # what the project says of it, or it's but a part of another

    def constructions(self, deadline: Deadline, *, tries: int = 70) -> Iterator[Construction]:
        """Constructions, each built once; after one that was not good enough, variations of it follow."""
        queue = self._first_arguments()
        seen: set[str] = set()
        while queue and tries and not deadline.is_over:
            how, arguments = queue.pop(0)
            if repr(arguments) in seen:
                continue
            seen.add(repr(arguments))
            tries -= 1
            if isinstance(result := self._attempt(arguments, deadline), nn.Module):
                yield Construction(self.cls, arguments, how, result)
                ways = [of_one_width(arguments), self._asked_by_forward(arguments)]
                misses = any("NoneType" in text for text in self.complaints[-1:])  # which no width mends
                asked = [other for way in (reversed(ways) if misses else ways) for other in way]
                varied = how.removesuffix(", varied") + ", varied"
                others = [(varied, other) for other in asked if repr(other) not in seen]
                real = [way for way in queue if way[0] in (_OF_FILE, _OF_PROJECT)][:1]
                queue[:0] = [*real, *others[:1], *self._built_elsewhere(), *others[1:]]
                if not how.endswith("varied"):
                    queue += [(f"{how}, varied", other) for other in self._varied(arguments)]
            elif isinstance(result, OutOfBudget):
                queue[:0] = [(how + SMALL, self.shrunk(arguments)), *self._built_elsewhere()]
            elif isinstance(result, Exception):
                queue[:0] = [(how, other) for other in repaired(self.cls, arguments, result, self.values)]
                queue[:0] = self._built_elsewhere() if len(self.errors) == _PATIENCE else []

    def values(self, name: str) -> list[Any]:
        """The candidates for a parameter; a default comes first, literals of call sites next."""
        if name not in self.known:
            self.known[name] = self._values(name)
        return self.known[name]

    def _attempt(self, arguments: Arguments, deadline: Deadline) -> nn.Module | Exception:
        try:
            with contained(deadline):
                return construct(self.cls, arguments)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the user's constructor raises
            self.closest = self.closest if self.errors else arguments
            self.errors.append(f"{type(error).__name__}: {' '.join(str(error).split())[:160]}")
            self.slip = arguments if self.slip is None and is_built_wrong(error, arguments) else self.slip
            self.unwritten = self.unwritten or unwritten(error, self.cls)
            return error

    def _first_arguments(self) -> list[tuple[str, Arguments]]:
        chosen = {name: self.values(name)[0] for name in [*self.required, *self._handed_on()]}
        chosen |= callsites.relations(self.cls, chosen) | devices.nearest(self.parameters)
        chosen |= placeholders.filled(self.parameters)
        chosen |= placeholders.places({name: usages(self.cls)[name] for name in chosen})
        if several := self._several():
            chosen[self.variadic] = several
        sites = [(_OF_FILE, one) for one in callsites.whole(self.cls)]
        if not chosen or all(map(self._is_sure, self.required)):  # our sizes before real ones
            return [("from names" if chosen else "from defaults", chosen), *sites]
        return [*sites[:1], *self._as_set(chosen), *sites[1:]]

    def _several(self) -> tuple[Any, ...]:
        """What `*layers` are; where a base's constructor gets them (`super().__init__(*args)`), what that requires."""
        above, before = hands_up(self.cls, self.variadic) if self.variadic else (None, 0)
        if above is not None and self.depth < _DEEPEST:
            base = ConstructorSearch(above, depth=self.depth + 1)
            given = tuple(base.values(name)[0] for name in base.required[before:])
            return () if self._handed_on() else given or base._several()
        if _AXES.match(self.variadic):
            own: type = self.cls
            return (0, 2, 1) if "permute" in source.text_of(own) else (1, 2)
        is_told = self.variadic and self.variadic not in ("args", "_")
        return (candidates(Wanted(self.variadic.rstrip("s")))[0],) * 2 if is_told else ()

    def _built_elsewhere(self) -> list[tuple[str, Arguments]]:
        """The guess with what calls in the project say farther than by literals; once."""
        told = callsites.farther(self.cls) if not self.is_told else ()
        self.is_told = True
        chosen = {name: self.values(name)[0] for name in self.required} if told else {}
        return [(_OF_PROJECT, chosen | one) for one in told]

    def _as_set(self, chosen: Arguments) -> list[tuple[str, Arguments]]:
        """The guess, before it with the lists and texts that the project sets, and after it with all that it sets."""
        said = settings.told(self.parameters, self.cls)
        said = said if set(self.required) & set(said) else {}
        other = settings.structured(said, chosen)
        ways = [
            ("from names and settings", chosen | other),
            ("from names", chosen),
            ("from settings", chosen | said),
        ]
        return ways if other else ways[1:] if said else ways[1:2]

    def _handed_on(self) -> list[str]:
        """What is required of the class that gets this one's **kwargs."""
        inner = takes_the_rest(self.cls)
        if inner is None or self.depth >= _DEEPEST:
            return []
        given = set(self.parameters) | set(usages(self.cls)[REST].keys)
        return [name for name in ConstructorSearch(inner, depth=self.depth + 1).required if name not in given]

    def _is_sure(self, name: str) -> bool:
        """Whether the name or annotation alone says what the parameter is."""
        first = self.values(name)[0]
        is_number = type(first) in (int, float, bool)
        is_annotated = self.parameters[name].annotation is not inspect.Parameter.empty
        said = names.is_flag(name) or names.is_real(name) or bool(names.known_integers(name))
        return is_number and said and (is_annotated or "sequence" not in usages(self.cls)[name].kinds)

    def _values(self, name: str) -> list[Any]:
        parameter = self.parameters.get(name)
        if parameter is None:
            inner = takes_the_rest(self.cls)
            if inner is None or self.depth >= _DEEPEST:
                return candidates(Wanted(name))
            return ConstructorSearch(inner, depth=self.depth + 1).values(name)
        scope = getattr(constructor(self.cls), "__globals__", {})
        usage = usages(self.cls)[name]
        # `config_class = BertConfig`, in the class or its base, says it as well.
        of_class = inspect.getattr_static(self.cls, f"{name}_class", None)
        is_a = usage.is_a or (of_class if inspect.isclass(of_class) else None)
        is_open = any(parameter.annotation is one for one in (parameter.empty, Any, "Any"))
        asked = is_a if is_open else parameter.annotation
        wanted = Wanted(name, asked or parameter.annotation, usage, scope, self._made, self.cls)
        found = candidates(wanted)
        kind = told_kind(self.cls, name) if parameter.annotation is parameter.empty else None
        if kind is not None and not isinstance(found[0], typing.get_origin(kind) or kind):
            found = unique([*candidates(wanted.of(kind)), *found])
        if parameter.default is not parameter.empty:
            return unique([parameter.default, *found])
        mined = self.literals.get(name, [])
        is_annotated = parameter.annotation is not parameter.empty
        are_numbers = bool(mined) and type(mined[0]) in (int, float)
        is_number = type(found[0]) in (int, float) and (is_annotated or are_numbers)
        return unique([found[0], *mined, *found[1:]] if is_number else [*mined, *found])

    def _made(self, cls: type[nn.Module]) -> Made | None:
        """A module-valued argument of a known class."""
        if self.depth >= _DEEPEST or cls is self.cls:
            return None
        inner = ConstructorSearch(cls, depth=self.depth + 1)
        for found in inner.constructions(Deadline.after(1.0), tries=15):
            return Made(str(found), found.build)
        return None

    def _varied(self, arguments: Arguments) -> Iterator[Arguments]:
        """Other values for each required parameter."""
        if self.variadic in arguments:
            yield {**arguments, self.variadic: (ANY_MODULE, ANY_MODULE)}
        for name in self.required:
            for value in self.values(name)[1:4]:
                yield {**arguments, name: value}

    def _asked_by_forward(self, arguments: Arguments) -> Iterator[Arguments]:
        """What forward's last complaint about such a module asks for."""
        for text in self.complaints[-1:]:
            if text.startswith(OutOfBudget.__name__):
                yield self.shrunk(arguments)
            yield from asked_by(self.cls, text, arguments, self.parameters, self.values)

    def shrunk(self, arguments: Arguments, *, only: str = "") -> Arguments:
        """Small values also for parameters whose defaults are large; or for one of them."""
        return smaller(self.cls, self.parameters, arguments, only=only)
