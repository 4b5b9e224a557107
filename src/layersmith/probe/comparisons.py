"""With what a constructor's parameters and the fields of a config are compared, also by the code that is handed them."""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from layersmith.probe import allowed, source
from layersmith.probe.constants import meant
from layersmith.probe.standing import Place, Texts, field_of, kept_as, methods, parameters_of

FARTHEST = 200  # hands that one class's parameters go through


@dataclass(frozen=True, slots=True)
class Handed:
    """A parameter, or a field of one, that is given to a class, a function or a method as one of theirs."""

    name: str
    to: Any
    theirs: str
    owner: type | None  # of the method
    count: int = 0  # of all that it is given there


@dataclass(slots=True)
class Uses:
    """What a piece of code does with its parameters; a field of one is `config.dropout`."""

    values: dict[str, Texts] = field(default_factory=dict)  # the strings, or None, that each is compared with
    fields: dict[str, None] = field(default_factory=dict)  # the attributes and keys that are read, in order
    handed: list[Handed] = field(default_factory=list)

    def add(self, name: str, values: Iterable[str | None]) -> None:
        """Values with which one is compared."""
        known = self.values.setdefault(name, []) if name else []
        known += [value for value in values if value not in known]


def uses(cls: type[nn.Module]) -> Uses:
    """What a class does with the parameters of its constructor, itself and by the code that it hands them to."""
    key: Any = cls
    return _uses(key)


@functools.lru_cache(maxsize=512)
def _uses(cls: Any) -> Uses:
    own = _of(cls, None)
    found = Uses({name: [*values] for name, values in own.values.items()}, {**own.fields})
    hands = dict.fromkeys(own.handed)
    queue = [*hands]
    for hand in queue:  # which grows
        for one in _of(hand.to, hand.owner).handed:
            more = replace(one, name=_renamed(one.name, hand))
            if more.name and more not in hands and len(hands) < FARTHEST:
                hands[more] = None
                queue.append(more)
    for hand in queue:
        theirs = _of(hand.to, hand.owner)
        found.fields |= {new: None for name in theirs.fields if (new := _renamed(name, hand))}
        if not _makes_anything(hand, queue):
            for name, values in theirs.values.items():
                found.add(_renamed(name, hand), values)
            found.add(hand.name, _listed(hand))
    return found


def _makes_anything(hand: Handed, hands: Iterable[Handed]) -> bool:
    """Whether a function makes things of several kinds, and each parameter names one: `make(norm, dim)`, `make(act)`."""
    same = [one for one in hands if (one.to, one.theirs) == (hand.to, hand.theirs)]
    return len({one.name for one in same}) > 1 and len({one.count for one in same}) > 1


def _renamed(name: str, hand: Handed) -> str:
    """`cfg.dim` as `config.dim`, where config was handed on as cfg; "" for another parameter's."""
    first, dot, rest = name.partition(".")
    return f"{hand.name}{dot}{rest}" if first == hand.theirs else ""


def _listed(hand: Handed) -> Texts:
    """The strings that the annotation lists of the parameter as which it is handed on."""
    try:
        annotation = inspect.signature(_function(hand.to)).parameters[hand.theirs].annotation
    except (KeyError, TypeError, ValueError):  # a decorator has its own
        return []
    return [one for one in allowed.values(annotation) if isinstance(one, str)]


def _function(code: Any) -> Any:
    return code.__init__ if inspect.isclass(code) else code


@functools.lru_cache(maxsize=1024)
def _of(code: Any, owner: type | None) -> Uses:
    """What a class, a function or a method does itself."""
    return _of_class(code) if inspect.isclass(code) else _of_function(code, owner)


def _of_class(cls: type) -> Uses:
    found = Uses()
    node = source.function_node(_function(cls))
    kept = kept_as(cls)
    for method in methods(cls) if node is not None else ():
        is_constructor = node is not None and (method.name, method.lineno) == (node.name, node.lineno)
        names = {name: name for name in parameters_of(method)[1:]} if is_constructor else {}
        _read(Place(method, cls, _scope(_function(cls)), names, kept), found)
    return found


def _of_function(function: Any, cls: type | None) -> Uses:
    found, node = Uses(), source.function_node(function)
    if node is not None:
        _read(Place(node, cls, _scope(function), {name: name for name in parameters_of(node)}, {}), found)
    return found


def _scope(function: Any) -> Mapping[str, Any]:
    return getattr(source.unwrapped(function), "__globals__", {})


def _read(place: Place, found: Uses) -> None:
    """Add what a function does with the names."""
    parts = [*ast.walk(place.node)]
    for part in parts:
        if isinstance(part, ast.Assign) and len(part.targets) == 1 and isinstance(part.targets[0], ast.Name):
            target = part.targets[0].id
            if isinstance(part.value, ast.List | ast.Tuple | ast.Set | ast.Dict):
                place.literals[target] = part.value
            elif target not in place.names and (name := place.name_of(part.value)):
                place.names[target] = name
    for part in parts:
        _, key = field_of(part)
        if key and "." in (name := place.name_of(part)):
            found.fields[name] = None
        for asked, values in _asked(part, place):
            found.add(place.name_of(asked), values)
        if isinstance(part, ast.Call):
            _handed_on(part, place, found)


def _asked(node: ast.AST, place: Place) -> Iterator[tuple[ast.AST, Texts]]:
    """What is compared with strings here, looked up in a table, or matched; and with which."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        if isinstance(node.ops[0], ast.Eq | ast.NotEq | ast.In | ast.NotIn):
            yield _in_any_case(node.left, place.values_of(node.comparators[0]))
    elif isinstance(node, ast.Subscript) and (table := place.table(node.value)) is not None:
        yield node.slice, place.values_of(table)
    elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "get" and node.args:
        if (table := place.table(node.func.value)) is not None:  # type: ignore[attr-defined]
            yield node.args[0], place.values_of(table)
    elif isinstance(node, ast.Match):
        patterns = [one.value for one in ast.walk(node) if isinstance(one, ast.MatchValue)]
        yield node.subject, [value for one in patterns for value in place.values_of(one)]


def _in_any_case(node: ast.expr, values: Texts) -> tuple[ast.expr, Texts]:
    """What is compared, without `.lower()` behind it; with that, the values may be in the other case, too."""
    is_turned = isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("lower", "upper")
    if not is_turned or not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return node, values
    others = [one.swapcase() for one in values if one and (one.islower() or one.isupper())]
    return node.func.value, [*values, *others]


def _handed_on(call: ast.Call, place: Place, found: Uses) -> None:
    """What a class or function of the project does with what it is given here."""
    callee, is_bound = _callee(call.func, place)
    given = call.args
    if callee is functools.partial and given:
        callee, is_bound = _callee(given[0], place)
        given = given[1:]
    is_code = inspect.isclass(callee) or inspect.isfunction(callee)
    node = source.function_node(_function(callee)) if is_code and _is_near(_function(callee), place) else None
    if node is None:
        return
    names = parameters_of(node)[is_bound or inspect.isclass(callee) :]
    first = next((i for i, one in enumerate(given) if isinstance(one, ast.Starred)), len(given))
    pairs = [*zip(names, given[:first], strict=False)]
    pairs += [(word.arg, word.value) for word in call.keywords if word.arg in names]
    owner = place.cls if is_bound and inspect.isfunction(callee) else None
    count = len(call.args) + len(call.keywords)
    found.handed += [
        Handed(name, callee, theirs, owner, count)
        for theirs, value in pairs
        if (name := place.name_of(value))
    ]


def _callee(function: ast.expr, place: Place) -> tuple[Any, bool]:
    """The class or function that is called, and whether `self` goes before its arguments."""
    owner = function.value if isinstance(function, ast.Attribute) else None
    if (
        isinstance(function, ast.Attribute)
        and isinstance(owner, ast.Call)
        and getattr(owner.func, "id", "") == "super"
    ):
        bases = place.cls.__mro__[1:] if place.cls is not None else ()
        base = next((one for one in bases if function.attr in vars(one)), None)
        found = base if function.attr == "__init__" else vars(base).get(function.attr) if base else None
        return found, True
    found = meant(function, place.scope, place.cls)
    own = getattr(owner, "id", "") in ("self", "cls") and inspect.isfunction(found)
    is_static = own and isinstance(inspect.getattr_static(place.cls, function.attr, None), staticmethod)  # type: ignore[attr-defined]
    return source.unwrapped(found) if own else found, own and not is_static


def _is_near(function: Any, place: Place) -> bool:
    """Whether it is of the same project: of the same package, or at least not installed."""
    own, theirs = place.scope.get("__name__", ""), getattr(function, "__module__", "") or ""
    code = getattr(source.unwrapped(function), "__code__", None)
    is_same = own.partition(".")[0] == theirs.partition(".")[0]
    return code is not None and (is_same or "site-packages" not in code.co_filename)
