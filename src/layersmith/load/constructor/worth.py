"""What an expression at a call site is worth: literals, names bound once, options of parsers, arithmetic of these."""

from __future__ import annotations

import ast
import contextlib
import operator
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from layersmith.load.constructor import settings, sites
from layersmith.load.constructor.imported import origin
from layersmith.load.constructor.settings import UNKNOWN
from layersmith.load.constructor.sites import Site
from layersmith.load.constructor.syntax import field_name
from layersmith.probe import source

_DEEPEST = 6  # names that stand for names
_OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_CASTS: Mapping[str, Callable[[Any], Any]] = {
    "int": int,
    "float": float,
    "str": str,
    "bool": bool,
    "len": len,
    "list": list,
    "tuple": tuple,
}
_SIMPLE = (int, float)
_AT_THE_END = ast.Call(ast.Name(""), [], [], lineno=sys.maxsize)  # of a file whose names are asked for


def worth(node: ast.expr, site: Site, depth: int = 0) -> Any:
    """The value of an expression where a class is built; UNKNOWN where nothing that is written says it."""
    if depth > _DEEPEST:
        return UNKNOWN
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError):
        pass
    reads = _READERS.get(type(node))
    return reads(node, site, depth) if reads is not None else UNKNOWN


def _several(node: ast.Tuple | ast.List, site: Site, depth: int) -> Any:
    items = [worth(item, site, depth + 1) for item in node.elts]
    if any(item is UNKNOWN for item in items):
        return UNKNOWN
    return tuple(items) if isinstance(node, ast.Tuple) else items


def _turned(node: ast.UnaryOp, site: Site, depth: int) -> Any:
    """`not args.no_bias`, `-args.margin`."""
    inner = worth(node.operand, site, depth + 1)
    if not isinstance(inner, _SIMPLE):
        return UNKNOWN
    return not inner if isinstance(node.op, ast.Not) else -inner if isinstance(node.op, ast.USub) else UNKNOWN


def _computed(node: ast.BinOp, site: Site, depth: int) -> Any:
    left, right = (worth(side, site, depth + 1) for side in (node.left, node.right))
    computes = _OPERATORS.get(type(node.op))
    if computes is None or not all(isinstance(side, _SIMPLE) for side in (left, right)):
        return UNKNOWN
    try:
        return computes(left, right)
    except (ArithmeticError, TypeError):
        return UNKNOWN


def _cast(node: ast.Call, site: Site, depth: int) -> Any:
    cast = _CASTS.get(getattr(node.func, "id", ""))
    inner = worth(node.args[0], site, depth + 1) if cast is not None and len(node.args) == 1 else UNKNOWN
    if cast is None or inner is UNKNOWN:
        return UNKNOWN
    try:
        return cast(inner)
    except (ValueError, TypeError):
        return UNKNOWN


def _of_name(node: ast.Name, site: Site, depth: int) -> Any:
    """Of a name that is bound once, of a parameter with a default, of one that is called as an option is."""
    name = node.id
    for function in site.around:
        if any(True for _ in _bound(function, name)):
            return _last(function, name, site, depth)
        defaults = _defaults(function)
        if name in defaults:
            default = defaults[name]
            said = worth(default, site, depth + 1) if default is not None else UNKNOWN
            said = _as_called(function, name, site, depth) if (said is UNKNOWN or said is None) else said
            return settings.option(name, Path(site.file)) if said is UNKNOWN else said
    said = _last(site.tree, name, site, depth)
    return _imported(name, site, depth) if said is UNKNOWN else said


def _imported(name: str, site: Site, depth: int) -> Any:
    """Of what another file of the project sets, at its end."""
    found = origin(name, site.file)
    if found is None:
        return UNKNOWN
    file, theirs = found
    there = Site(_AT_THE_END, (), source.tree_of(file), file)
    return worth(ast.Name(theirs), there, depth + 1)


def _as_called(function: source.Function, name: str, site: Site, depth: int) -> Any:
    """What the project's calls of a function, or of the class whose constructor it is, give to a parameter."""
    parameters = [*_defaults(function)]
    for caller in sites.of_function(function, site):
        call, place = caller.call, parameters.index(name) - (parameters[0] == "self")
        words = {word.arg: word.value for word in call.keywords}
        given = words.get(name, call.args[place] if place < len(call.args) else None)
        value = worth(given, caller, depth + 1) if given is not None else UNKNOWN
        if value is not UNKNOWN:
            return value
    return UNKNOWN


def _of_field(node: ast.expr, site: Site, depth: int) -> Any:
    """`args.width`, `config["model"]["width"]`; `self.width`, which one assignment of the file sets; `sizes[0]`."""
    name = field_name(node)
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        owner, key = worth(node.value, site, depth + 1), node.slice.value
        with contextlib.suppress(LookupError, TypeError):
            return owner[key]
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        said = _imported(ast.unparse(node), site, depth)
        if said is not UNKNOWN:
            return said
    if not name or not isinstance(node, ast.Attribute | ast.Subscript):
        return UNKNOWN
    if getattr(node.value, "id", "") == "self":
        set_to = [
            part.value
            for part in ast.walk(site.tree)
            if isinstance(part, ast.Assign) and ast.unparse(part.targets[0]) == f"self.{name}"
        ]
        return _only(set_to, site, depth)
    return settings.option(name, Path(site.file)) if settings.is_of_settings(node.value) else UNKNOWN


def _last(body: source.Function | ast.Module, name: str, site: Site, depth: int) -> Any:
    """Of the one value that is given to a name; of several the last before the call, if no branch or loop gives it."""
    bound = [*_bound(body, name)]
    before = [(line, value) for line, value in bound if line < site.call.lineno]
    line, value = max(before, key=lambda pair: pair[0]) if len(bound) > 1 and before else (0, None)
    is_straight = any(part.lineno == line for part in body.body)
    return _only([value for _, value in bound] if len(bound) == 1 else [value] * is_straight, site, depth)


def _only(values: Sequence[ast.expr | None], site: Site, depth: int) -> Any:
    found = values[0] if len(values) == 1 else None
    return UNKNOWN if found is None else worth(found, site, depth + 1)


def _bound(body: source.Function | ast.Module, name: str) -> Iterator[tuple[int, ast.expr | None]]:
    """The values that a function or file gives to a name itself, by line; None where it is no plain assignment."""
    left: list[ast.AST] = [*body.body]
    while left:
        node = left.pop()
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(getattr(target, "id", "") == name for target in targets):
                yield node.lineno, node.value
                continue
        if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store):
            yield node.lineno, None
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            left += ast.iter_child_nodes(node)


def _defaults(function: source.Function) -> dict[str, ast.expr | None]:
    """The parameters of a function, each with its default."""
    given = function.args
    several = [*given.posonlyargs, *given.args]
    missing: list[ast.expr | None] = [None] * (len(several) - len(given.defaults))
    pairs = [*zip(several, [*missing, *given.defaults], strict=True)]
    pairs += [*zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    return {argument.arg: default for argument, default in pairs}


_READERS: Mapping[type[ast.expr], Callable[[Any, Site, int], Any]] = {
    ast.Tuple: _several,
    ast.List: _several,
    ast.BinOp: _computed,
    ast.UnaryOp: _turned,
    ast.Call: _cast,
    ast.Name: _of_name,
    ast.Attribute: _of_field,
    ast.Subscript: _of_field,
}
