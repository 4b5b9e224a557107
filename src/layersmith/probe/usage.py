"""How `forward` uses an argument, read from its source."""

from __future__ import annotations

import ast
import functools
import linecache
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

from torch import nn

from layersmith.probe import dataflow, source
from layersmith.probe.parameters import Idle

OF_SHAPE = frozenset(
    "shape size device dtype ndim dim numel new_zeros new_ones new_tensor new_full new_empty type_as".split()
)
OF_KIND = frozenset(
    "len zeros_like ones_like empty_like full_like rand_like randn_like isinstance is_tensor".split()
)
# Names of what need not count in every call.
UNCOUNTED = re.compile(
    r"mask|pad|length|lens|^_|edge|adj|size|shape|hidden|state|^h0?$|^c0?$|hx", re.IGNORECASE
)
_ENTRY = re.compile(r"\['([^']+)'\]$")  # of a dict, in the path of a tensor
_PART = re.compile(r"(?:input\[\d+\]|(?!input)\w+)\[(\d+)\]")  # one of a list, by its path
_TIMES = ("t", "time")
_INTERFACE = 3  # arguments, self among them, that two classes may share by chance
UNUSED = r"un-?used|ignored|not used|compat|placeholder|dummy"


@functools.lru_cache(maxsize=512)
def idle(cls: type) -> tuple[Idle, ...]:
    """The arguments of `forward` with a default that end without effect, though a docstring or its code says they have.

    One that is merely there may be what an interface demands, and so may one that a base class or another class of
    the file takes as well.
    """
    forward = source.function_node(getattr(cls, "forward", None))
    if forward is None or forward.decorator_list or re.search(r"\b(?:locals|vars)\(", _text(cls)):
        return ()
    reading = dataflow.Reading(dataflow.simplified(forward))
    live, named = reading.live(lambda _: True), dataflow.loads(ast.Module(forward.body, []))
    plain = [*forward.args.posonlyargs, *forward.args.args]
    keywords = zip(forward.args.kwonlyargs, forward.args.kw_defaults, strict=True)
    optional = [*plain[len(plain) - len(forward.args.defaults) :], *(one for one, given in keywords if given)]
    return tuple(
        Idle(one.arg, one.lineno, reading.end(one.arg, named))
        for one in optional
        if one.arg not in live
        and not (one.arg.startswith("_") or is_excused(cls, one.arg) or _is_shared(cls, forward, one.arg))
        and (one.arg in named or re.search(rf"\b{one.arg}\b", _documentation(cls, forward)))
    )


def need_not_count(cls: type, name: str) -> bool:
    """Whether the name is that of a mask, a state or a size; a weight of edges that is promised must count."""
    return bool(UNCOUNTED.search(name)) and not (name.startswith("edge_") and _is_unread(cls, name))


def _is_unread(cls: type, name: str) -> bool:
    """Whether `forward` never reads an argument that the documentation names, and that no other forward here takes."""
    forward = source.function_node(getattr(cls, "forward", None))
    if forward is None or name in dataflow.loads(ast.Module(forward.body, [])):
        return False
    is_told = re.search(rf"\b{re.escape(name)}\b", _documentation(cls, forward)) is not None
    return is_told and not _is_shared(cls, forward, name)


def _is_shared(cls: type, forward: source.Function, name: str) -> bool:
    """Whether a base or another class of the file has a `forward` with this argument."""
    return any(name in _names(other) for other in _others(cls, forward))


def is_unnamed_entry(cls: type, path: str) -> bool:
    """Whether a path ends in a key of a dict that the class does not name: a batch may hold more than it takes.

    Or that it names for its shape and kind only: `x = images.tensors`, and then `x.device`.
    """
    entry = _ENTRY.search(path)
    if entry is None or not re.search(rf"\b{re.escape(entry[1])}\b", source.text_of(cls)):
        return entry is not None
    called = [name for name, value in _assigned(cls) if _reads(value, entry[1])]
    return bool(called) and all(is_excused(cls, name) for name in called)


def is_picked(cls: type, path: str, name: str) -> bool:
    """Whether it is one of a list of which forward takes some: `skips[self.index]`, `x[0]` and `x[2]`, `x, _ = x`."""
    forward, number = source.function_node(getattr(cls, "forward", None)), _PART.match(path)
    if forward is None or number is None:
        return False
    parts, place = [*ast.walk(forward)], int(number[1])
    own = [
        part for part in parts if isinstance(part, ast.Subscript) and getattr(part.value, "id", "") == name
    ]
    picks = [getattr(one.slice, "value", None) for one in own]
    reads = [part for part in parts if isinstance(part, ast.Name) and part.id == name]
    is_told_which = len(reads) == len(own) == len({*picks}) and all(type(pick) is int for pick in picks)
    return (
        any(isinstance(one.slice, ast.Name | ast.Attribute) for one in own)
        or (bool(own) and is_told_which and place not in picks)
        or any(_is_dropped(part, name, place) for part in parts)
    )


def _is_dropped(node: ast.AST, name: str, place: int) -> bool:
    """Whether this takes a list apart and calls that part of it unused: `words, _ = batch`."""
    if not isinstance(node, ast.Assign) or getattr(node.value, "id", "") != name:
        return False
    parts = getattr(node.targets[0], "elts", [])
    return place < len(parts) and getattr(parts[place], "id", "").startswith("_")


@functools.lru_cache(maxsize=512)
def is_demanded(cls: type, name: str) -> bool:
    """Whether an interface has the argument, which forward never reads: a base or another class takes the same."""
    forward = source.function_node(getattr(cls, "forward", None))
    if forward is None or _is_read(cls, forward, name):
        return False
    own = _names(forward)
    alike = sum(_names(other) == own for other in _others(cls, forward))
    takes_many = len(own) > _INTERFACE
    return alike > (not takes_many) or (takes_many and _is_taken_beside(cls, own))  # one is enough of many


def _is_read(cls: type, function: source.Function, name: str, *, is_inner: bool = False) -> bool:
    """Whether it reads an argument; to hand it to a method of the class that does not is no reading."""
    reads = [part for part in ast.walk(function) if isinstance(part, ast.Name) and part.id == name]
    idle: set[ast.expr] = set()
    for call in (part for part in ast.walk(function) if isinstance(part, ast.Call) and not is_inner):
        is_own = isinstance(call.func, ast.Attribute) and getattr(call.func.value, "id", "") == "self"
        method = source.function_node(getattr(cls, call.func.attr, None)) if is_own else None  # type: ignore[attr-defined]
        given = [*zip(_names(method)[1:], call.args, strict=False)] if method is not None else []
        given += [(word.arg or "", word.value) for word in call.keywords if method is not None]
        idle |= {one for taken, one in given if method and not _is_read(cls, method, taken, is_inner=True)}
    return any(isinstance(read.ctx, ast.Load) and read not in idle for read in reads)


def _names(forward: source.Function) -> list[str]:
    return [argument.arg for argument in ast.walk(forward.args) if isinstance(argument, ast.arg)]


def _others(cls: type, forward: source.Function) -> Iterator[source.Function]:
    """The `forward` of each base and of every other class of the file."""
    bases = (base for base in cls.__mro__[1:] if base not in (nn.Module, object))
    nodes = (source.function_node(vars(base).get("forward")) for base in bases)
    file = ast.walk(source.tree_of(source.file_of(cls)))
    others = (part for part in file if isinstance(part, ast.FunctionDef) and part.name == "forward")
    return (n for n in (*nodes, *others) if n is not None and n.lineno != forward.lineno)


def _is_taken_beside(cls: type, names: list[str]) -> bool:
    """Whether a forward in another file of the folder takes the same: `Model`, of which each file has one."""
    taken = re.compile(r"def forward\(\s*" + r"\b[^,()]*,\s*".join(map(re.escape, names)) + r"\b[^,]*?\)")
    file = Path(source.file_of(cls))
    others = [other for other in file.parent.glob("*.py") if other != file] if file.is_file() else []
    return any(taken.search("".join(linecache.getlines(str(other)))) for other in others)


def _documentation(cls: type, forward: source.Function) -> str:
    node = source.class_node(cls)
    return f"{ast.get_docstring(forward) or ''}\n{(node and ast.get_docstring(node)) or ''}"


@functools.lru_cache(maxsize=512)
def is_cut_by_an_option(cls: type, name: str) -> bool:
    """Whether forward takes a slice of an argument whose end an attribute says: `x[..., : -self.chop]`."""
    forward = source.function_node(getattr(cls, "forward", None))
    parts = (
        [part for part in ast.walk(forward) if isinstance(part, ast.Subscript)] if forward is not None else []
    )
    slices = [one for part in parts if getattr(part.value, "id", "") == name for one in ast.walk(part.slice)]
    ends = [end for one in slices if isinstance(one, ast.Slice) for end in (one.lower, one.upper) if end]
    return any(getattr(part, "id", "") == "self" for end in ends for part in ast.walk(end))


def is_excused(cls: type, name: str) -> bool:
    """Whether an argument is not meant to count: said so, deleted, or asked for no more than its shape and kind."""
    forward = source.function_node(getattr(cls, "forward", None))
    if forward is None or not name:
        return True
    word = rf"\b{re.escape(name)}\b"
    if re.search(
        rf"{word}[^\n]{{0,80}}(?:{UNUSED})|(?:{UNUSED})[^\n]{{0,80}}{word}", _text(cls), re.IGNORECASE
    ):
        return True
    used = [node for node in ast.walk(forward) if isinstance(node, ast.Name) and node.id == name]
    names = [argument.arg for argument in forward.args.args]
    if not used and name in _TIMES and names[1:-1][:1] == [name]:  # the first, and not the only one
        return True  # a solver of differential equations calls it with time and state
    if any(isinstance(node.ctx, ast.Del) for node in used):
        return True
    loads = {id(node) for node in used if isinstance(node.ctx, ast.Load)}
    loads -= {id(node.left) for node in ast.walk(forward) if _asks_for_none(node)}
    excused = {id(part) for node in ast.walk(forward) for part in _excused(node)}
    return bool(loads) and loads <= excused


def _excused(node: ast.AST) -> list[ast.expr]:
    """The variables that this node asks only for shape or kind."""
    if isinstance(node, ast.Attribute) and node.attr in OF_SHAPE:
        return [node.value]
    if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in OF_KIND:
        return node.args
    return []


def _assigned(cls: type) -> Iterator[tuple[str, ast.expr]]:
    """The names that forward gives a value, with what is assigned."""
    forward = source.function_node(getattr(cls, "forward", None))
    for node in ast.walk(forward) if forward is not None else ():
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value


def _reads(value: ast.expr, key: str) -> bool:
    """Whether it is `thing.key` or `thing["key"]`."""
    if isinstance(value, ast.Subscript):
        return isinstance(value.slice, ast.Constant) and value.slice.value == key
    return isinstance(value, ast.Attribute) and value.attr == key


def _asks_for_none(node: ast.AST) -> TypeGuard[ast.Compare]:
    return isinstance(node, ast.Compare) and any(isinstance(op, ast.Is | ast.IsNot) for op in node.ops)


def _text(cls: type) -> str:
    """The source of the class, without its decorators."""
    node = source.class_node(cls)
    lines = linecache.getlines(source.file_of(cls))
    return "".join(lines[node.lineno - 1 : node.end_lineno]) if node is not None else ""
