"""Values that a constructor accepts by name, and that its code never tells apart."""

from __future__ import annotations

import ast
import enum
import functools
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from layersmith.probe import allowed, parameters, source, standing
from layersmith.probe.constants import constants, meant

SHOWS = frozenset({"extra_repr", "__repr__", "__str__"})
TWO = 2
SAID_ALIKE = re.compile(
    r"alias|synonym|same as|equivalent|identical|deprecated|legacy|backward|TODO", re.IGNORECASE
)
SYNONYMS = (
    {"silu", "swish"},
    {"mean", "avg", "average"},
    {"l1", "mae"},
    {"l2", "mse"},
    {"none", "identity", "null"},
)


@dataclass(frozen=True, slots=True)
class Alike:
    """An argument, those of its values that no comparison names, and the line that lists them."""

    name: str
    values: tuple[Any, ...]
    line: int


@functools.lru_cache(maxsize=512)
def alike(cls: type) -> tuple[Alike, ...]:
    """The arguments of which two accepted values or more lead the same way.

    Asked of arguments that a check or an annotation limits to some values, and that are otherwise only compared with
    constants: what is looked up or passed on may count anywhere.
    """
    init = vars(cls).get("__init__")
    node = source.function_node(init)
    if node is None or "NotImplementedError" in source.text_of(cls) or parameters.reflects(cls):
        return ()
    code = _Code(cls, getattr(source.unwrapped(init), "__globals__", {}))
    found = (_of(code, node, argument) for argument in [*node.args.args, *node.args.kwonlyargs][1:])
    return tuple(one for one in found if one is not None)


def _of(code: _Code, node: source.Function, argument: ast.arg) -> Alike | None:
    kept = standing.kept_as(code.cls)
    names = {argument.arg, *(f"self.{end}" for end, name in kept.items() if name == argument.arg)}
    checks = [one for one in code.checks(node) if _spelled(one.left) in names]
    accepted = code.values(checks[0]) if len(checks) == 1 else []
    accepted = accepted if checks else code.annotated(node, argument, names)
    if len(accepted) < TWO or _is_read_outside(code.cls, names):
        return None
    named = code.named(names, checks)
    unnamed = [one for one in accepted if named is not None and one is not None and one not in named]
    apart = [
        one for i, one in enumerate(unnamed) if not any(_are_synonyms(one, other) for other in unnamed[:i])
    ]
    if len(apart) < TWO or _is_said(code.cls, apart):
        return None
    return Alike(argument.arg, tuple(unnamed), checks[0].lineno if checks else argument.lineno)


@dataclass(frozen=True, slots=True)
class _Code:
    """A class and the global names that its constructor sees."""

    cls: type
    scope: Mapping[str, Any]

    def values(self, node: ast.Compare) -> list[Any]:
        """The values compared with; none where something else is among them."""
        found = constants(node.comparators[0], self.scope, self.cls) if len(node.ops) == 1 else None
        return (
            found
            if found is not None and all(isinstance(one, str | enum.Enum | None) for one in found)
            else []
        )

    def checks(self, node: source.Function) -> Iterator[ast.Compare]:
        """What a constructor refuses: `if mode not in ("a", "b"): raise`, `assert mode in MODES`."""
        for part in ast.walk(node):
            test = part.test if isinstance(part, ast.Assert) else None
            if isinstance(part, ast.If) and isinstance(part.body[-1], ast.Raise):
                test = part.test
            kind = ast.In if isinstance(part, ast.Assert) else ast.NotIn
            if isinstance(test, ast.Compare) and isinstance(test.ops[0], kind) and self.values(test):
                yield test

    def annotated(self, node: source.Function, argument: ast.arg, names: set[str]) -> list[Any]:
        """What an annotation lists that no other function shares, where no other value is refused in the end."""
        if argument.annotation is None or any(
            _refuses(part, names) for part in ast.walk(source.class_node(self.cls) or node)
        ):
            return []
        meaning = meant(argument.annotation, self.scope)
        if inspect.isclass(meaning) and self._annotates_others(ast.unparse(argument.annotation)):
            return []
        return allowed.values(meaning or ast.unparse(argument.annotation))

    def _annotates_others(self, text: str) -> bool:
        """Whether other arguments of the file are of this enumeration: it is a domain, of which each takes a part."""
        parts = ast.walk(source.tree_of(source.file_of(self.cls)))
        said = [one.annotation for one in parts if isinstance(one, ast.arg) and one.annotation is not None]
        return len([one for one in said if ast.unparse(one) == text]) > 1

    def named(self, names: set[str], checks: list[ast.Compare]) -> list[Any] | None:
        """What the argument is compared with elsewhere; None where it is used in another way."""
        found: list[Any] = []
        known = {id(part) for check in checks for part in ast.walk(check)}
        parts = [part for method in self._methods() for part in ast.walk(method)]
        for part in parts:
            if isinstance(part, ast.Compare) and part not in checks and _spelled(part.left) in names:
                if not self.values(part):
                    return None
                found += self.values(part)
                known.add(id(part.left))
            elif isinstance(part, ast.Match) and _spelled(part.subject) in names:
                cases = [one.value for one in ast.walk(part) if isinstance(one, ast.MatchValue)]
                found += [value for one in cases for value in constants(one, self.scope, self.cls) or [None]]
                known.add(id(part.subject))
            elif isinstance(part, ast.Raise | ast.Assert):
                known.update(map(id, ast.walk(part)))
            elif isinstance(part, ast.Assign | ast.AnnAssign):
                values = part.value.elts if isinstance(part.value, ast.Tuple) else [part.value]
                known.update(id(one) for one in values if _spelled(one) in names)
        reads = (part for part in parts if _spelled(part) in names)
        is_known = all(id(one) in known or isinstance(getattr(one, "ctx", None), ast.Store) for one in reads)
        return found if is_known else None

    def _methods(self) -> list[source.Function]:
        return [one for one in standing.methods(self.cls) if one.name not in SHOWS]


def _refuses(node: ast.AST, names: set[str]) -> bool:
    """Whether a comparison with the argument may end in a refusal: `if mode == "a": ... else: raise`."""
    if not isinstance(node, ast.If | ast.Match):
        return False
    asked = node.test if isinstance(node, ast.If) else node.subject
    is_theirs = any(_spelled(part) in names for part in ast.walk(asked))
    return is_theirs and any(isinstance(part, ast.Raise) for part in ast.walk(node))


def _are_synonyms(one: Any, other: Any) -> bool:
    """Whether two names mean one thing: `avg` and `average`, `batchnorm` and `batch_norm`, `silu` and `swish`."""
    first, second = sorted((_letters(one), _letters(other)), key=len)
    rest = iter(second)
    is_shortened = first[:1] == second[:1] and all(letter in rest for letter in first)
    return is_shortened or any({first, second} <= group for group in SYNONYMS)


def _letters(value: Any) -> str:
    return re.sub(r"[\W_]", "", _name(value)).lower()


def _name(value: Any) -> str:
    return value.name if isinstance(value, enum.Enum) else str(value)


def _is_said(cls: type, values: list[Any]) -> bool:
    """Whether a line of the class says of one of the values that it is meant so."""
    words = [re.compile(rf"\b{re.escape(_name(one))}\b", re.IGNORECASE) for one in values]
    lines = source.text_of(cls).splitlines()
    return any(SAID_ALIKE.search(line) and any(word.search(line) for word in words) for line in lines)


def _spelled(node: ast.AST | None) -> str:
    if isinstance(node, ast.Name):
        return node.id
    is_own = isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "self"
    return f"self.{node.attr}" if is_own and isinstance(node, ast.Attribute) else ""


def _is_read_outside(cls: type, names: set[str]) -> bool:
    """Whether code outside the class asks an object for the attribute, or a subclass may do so."""
    attributes = {name[5:] for name in names if name.startswith("self.")}
    file = [*ast.walk(source.tree_of(source.file_of(cls)))]
    has_heirs = bool(cls.__subclasses__()) or any(
        isinstance(part, ast.ClassDef) and cls.__name__ in map(ast.unparse, part.bases) for part in file
    )
    return has_heirs or any(
        isinstance(part, ast.Attribute)
        and part.attr in attributes
        and getattr(part.value, "id", "") != "self"
        for part in file
    )
