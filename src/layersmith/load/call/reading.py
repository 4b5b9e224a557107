"""Reads forward's syntax tree against the live module: what the first consumers of a parameter accept."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from layersmith.load.call.clue import PRIMES, Clue, is_batch
from layersmith.load.call.functions import function_clue, method_clue, operator_clue, picked_clue
from layersmith.load.call.held import Held, View
from layersmith.load.call.lookup import ITERABLES, looked_up, named, picked_by, truth
from layersmith.load.call.stated import documented_clue
from layersmith.load.call.syntax import (
    Rebinding,
    dimensions,
    element_size,
    first_input,
    found_in,
    in_order,
    integer,
    is_super,
    last_axes,
    parameter_at,
    picked_parts,
    rest_of,
    shape_owner,
)
from layersmith.load.call.torch_modules import clue_of
from layersmith.probe import source

_RESHAPING = (nn.Flatten, nn.Unflatten)
_DEEPEST = 6


def parameter_clue(module: nn.Module, parameter: str, *, within: str = "") -> Clue:
    """What forward does first with the parameter of this name, or with what it takes from `**within` by it."""
    node = source.function_node(source.forward(type(module))) if within else None
    if node is not None:
        return _reader(module, 0, node, [], {}).read_as(within, {}, parameter)
    return _read(module, source.forward(type(module)), parameter, 0)


def module_clue(module: nn.Module, position: int, *, keyword: str = "", depth: int = 0) -> Clue:
    """What a submodule accepts at a position or keyword: torch.nn's by attributes, others by their source."""
    if depth > _DEEPEST:
        return Clue()
    if isinstance(module, nn.Sequential | nn.ModuleList):
        return _first_child(module, depth)
    if (known := clue_of(module, position)) is not None:
        return known
    forward = source.forward(type(module))
    name = keyword or parameter_at(forward, position, skipped=first_input(type(module)))
    found = _read(module, forward, name, depth + 1) if name else Clue()
    if (found.rank and found.says_size) or not name:
        return found
    sizes = {key: value for key, value in vars(module).items() if type(value) is int}
    return found.merged(documented_clue(type(module), name, sizes))


def _first_child(module: nn.Module, depth: int) -> Clue:
    found = Clue()
    for child in module.children():
        found = found.merged(module_clue(child, 0, depth=depth + 1))
        if re.search("Pad|Pool|Upsample", type(child).__name__) and not found.says_size:
            continue  # keeps the channels that the next one asks for
        is_opaque = not type(child).__module__.startswith("torch.nn") or isinstance(child, _RESHAPING)
        if found.says_size or found.rank or found.dtype is not None or is_opaque:
            break
    return found


def _read(module: nn.Module, function: Any, parameter: str, depth: int) -> Clue:
    node = source.function_node(function)
    if node is None or depth > _DEEPEST:
        return Clue()
    reader = _reader(module, depth, node, [parameter])
    reader.add(Clue(picked=picked_parts(node, parameter)))
    for event in in_order(node, lambda test: truth(test, module)):
        if reader.held.alias:
            reader.read(event)
    return reader.clue


def _reader(
    module: nn.Module,
    depth: int,
    function: source.Function,
    names: list[str],
    local: Mapping[str, Any] | None = None,
) -> _Reader:
    known = dict(local or {})
    held = Held(dict.fromkeys(names, View()), lambda node: looked_up(node, module, known))
    return _Reader(module, held, depth, function, known)


@dataclass(slots=True)
class _Reader:
    """Follows one parameter through one function."""

    module: nn.Module
    held: Held
    depth: int
    function: source.Function
    locals: dict[str, Any]  # loop variables that hold submodules
    clue: Clue = field(default_factory=Clue)
    repeated: dict[ast.Call, int] = field(default_factory=dict)  # a call -> the rank of its result
    numbered: dict[str, int] = field(default_factory=dict)  # the number of an item -> how many there are

    def read(self, event: ast.AST | Rebinding) -> None:
        if isinstance(event, Rebinding):
            self.held.rebound(event.node)
        elif (reader := _READERS.get(type(event))) is not None:
            reader(self, event)
        elif isinstance(event, ast.Attribute) and self.holds(event.value):
            self.add(Clue(attributes=frozenset({event.attr})))

    def holds(self, node: ast.AST | None) -> bool:
        return self.held.holds(node)

    def add(self, clue: Clue, node: ast.AST | None = None) -> None:
        """What a clue about an expression says; about the parameter itself where there is none."""
        view = self.held.view(node) if node is not None else View()
        self.clue = self.clue.merged(view.before(clue)) if view is not None else self.clue

    def loop(self, node: ast.For | ast.comprehension) -> None:
        if isinstance(node.target, ast.Tuple) and isinstance(node.iter, ast.Call):
            called = getattr(node.iter.func, "id", "")
            if called == "enumerate" and len(node.target.elts) == 2:  # noqa: PLR2004 - number and item
                layers = self.looked_up(node.iter.args[0])
                number, item = node.target.elts
                if isinstance(number, ast.Name) and isinstance(layers, nn.ModuleList):
                    self.numbered[number.id] = len(layers)
                self.walked([(item, node.iter.args[0]), *picked_by(number, self.function, self.looked_up)])
                return
            if called == "zip":
                self.walked(zip(node.target.elts, node.iter.args, strict=False))
                return
        self.walked([(node.target, node.iter)])

    def walked(self, pairs: Iterable[tuple[ast.expr, ast.expr]]) -> None:
        """Loop variables that hold submodules, and one that holds the items of the parameter."""
        together, items = list(pairs), ""
        layers: dict[str, list[Any]] = {}
        for target, iterated in together:
            if self.holds(iterated):
                items = target.id if isinstance(target, ast.Name) else ""
                self.add(Clue(is_sequence=True))
                continue
            looped = self.looked_up(iterated)
            several = list(looped) if isinstance(looped, ITERABLES) else [None]
            if isinstance(target, ast.Tuple):
                rows = [list(one) if isinstance(one, ITERABLES) else [] for one in several[:1]]
                self.locals.update(named(target.elts, rows[0] if rows else []))
            elif isinstance(target, ast.Name) and several:
                layers[target.id] = several
        self.locals.update({name: several[0] for name, several in layers.items()})
        if items:
            self.items_of(items, layers if len(together) > 1 else {})

    def items_of(self, name: str, layers: dict[str, list[Any]]) -> None:
        """What is done with each item: as many as there are layers beside it, else one for all."""
        kinds = (nn.Module, nn.Parameter)
        beside = {n: several for n, several in layers.items() if isinstance(next(iter(several)), kinds)}
        count = min(map(len, beside.values()), default=0)
        known = [{n: several[index] for n, several in beside.items()} for index in range(count)]
        clues = [self.read_as(name, held) for held in known or [{}]]
        if any(clue.is_known for clue in clues):
            self.add(Clue(items=tuple(enumerate(clues)) if count else ((None, clues[0]),)))

    def read_as(self, name: str, held: dict[str, Any], key: object = None, after: object = None) -> Clue:
        """What the function does with another name, or with a part of one, behind a statement that binds it."""
        if self.depth >= _DEEPEST:
            return Clue()
        names = [name] if key is None else []
        reader = _reader(self.module, self.depth + 1, self.function, names, self.locals)
        reader.held.key, reader.held.whole = key, {name}
        for event in in_order(self.function, lambda test: truth(test, self.module), after=after):
            reader.locals.update(held)
            reader.read(event)
        return reader.clue

    def unpacked(self, node: ast.Assign) -> None:
        """`b, c, h, w = x.shape`; `q, k = x`."""
        target, value = node.targets[0], node.value
        if not isinstance(target, ast.Tuple):
            return
        starred = any(isinstance(part, ast.Starred) for part in target.elts)
        count = len(target.elts)
        names = tuple(getattr(part, "id", "_") for part in target.elts)
        if (owner := shape_owner(value)) is not None:
            self.add(Clue(min_rank=count - 1) if starred else Clue(rank=count, names=names), owner)
        elif (last := last_axes(value)) is not None:  # h, i, j = x.shape[-3:]: the batch comes before
            self.add(Clue(min_rank=last[1] + (not is_batch(names[0]))), last[0])
        elif isinstance(value, ast.Tuple) and value.elts and isinstance(value.elts[0], ast.Starred):
            owner = shape_owner(value.elts[0].value)
            if owner is not None and not starred:  # (*x.shape, self.heads)
                self.add(Clue(rank=count - len(value.elts) + 1), owner)
        elif self.holds(value) and not starred and isinstance(value, ast.Name):
            clues = [self.read_as(name, {}, after=node) if name != "_" else Clue() for name in names]
            says = any(clue.is_known or clue.is_sequence for clue in clues)
            self.add(Clue(parts=count, items=tuple(enumerate(clues)) if says else ()))

    def call(self, node: ast.Call) -> None:
        self.add(picked_clue(node, self.holds))
        if getattr(node.func, "attr", "") in ("repeat", "expand") and len(node.args) > 1:
            inner = getattr(node.func, "value", None)
            if isinstance(inner, ast.Call):  # x.unsqueeze(1).repeat(1, n, 1)
                self.repeated[inner] = len(node.args)
        if isinstance(node.func, ast.Attribute):
            self.add(method_clue(node, node.func.attr, self.repeated.get(node)), node.func.value)
        view, args = self.held.view, [rest_of(one, self.function) or one for one in node.args]
        if getattr(node.func, "attr", "") == "einsum" and isinstance(args[-1], ast.Tuple | ast.List):
            args = [*args[:-1], *args[-1].elts]  # torch.einsum("ncv,vw->ncw", (x, a))
        position = next((i for i, given in enumerate(args) if view(given) is not None), None)
        word = next((word for word in node.keywords if view(word.value) is not None and word.arg), None)
        if position is not None:
            self.add(self.passed(node, position, ""), args[position])
        elif word is not None:
            self.add(self.passed(node, 0, word.arg or ""), word.value)

    def passed(self, node: ast.Call, position: int, keyword: str) -> Clue:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        called = self.looked_up(node.func)
        if isinstance(called, nn.Module):
            return self.module_clue(node, called, position, keyword)
        if inspect.ismethod(called) and called.__self__ is self.module:
            parameter = keyword or parameter_at(called.__func__, position)
            return _read(self.module, called.__func__, parameter, self.depth + 1) if parameter else Clue()
        if inspect.isfunction(called):
            parameter = keyword or parameter_at(called, position, skipped=0)
            return _read(self.module, called, parameter, self.depth + 1) if parameter else Clue()
        if is_super(node.func):
            return self.passed_up(name, position, keyword)
        return function_clue(node, name, 1 if keyword == "lengths" else position, self.looked_up)

    def module_clue(self, node: ast.Call, called: nn.Module, position: int, keyword: str) -> Clue:
        if keyword.endswith("key_padding_mask"):
            return Clue(rank=2, dtype=torch.bool)
        if isinstance(called, nn.EmbeddingBag) and position == 0 and len(node.args) + len(node.keywords) > 1:
            return Clue(rank=1, dtype=torch.int64, high=called.num_embeddings, sizes=(PRIMES[1],))
        if keyword:
            names = list(inspect.signature(source.forward(type(called))).parameters)[1:]
            position = names.index(keyword) if keyword in names else position
        return module_clue(called, position, keyword=keyword, depth=self.depth)

    def passed_up(self, name: str, position: int, keyword: str) -> Clue:
        for base in type(self.module).__mro__[1:]:
            if name in vars(base):
                known = clue_of(self.module, position) if base.__module__.startswith("torch.nn") else None
                parameter = keyword or parameter_at(vars(base)[name], position)
                return known or _read(self.module, vars(base)[name], parameter, self.depth + 1)
        return Clue()

    def subscript(self, node: ast.Subscript) -> None:
        value, index = node.value, node.slice
        if isinstance(value, ast.Attribute) and value.attr == "shape" and self.holds(value.value):
            number = integer(index)
            self.add(Clue(min_rank=(number + 1 if number >= 0 else -number) if number is not None else 0))
        if (found := found_in(node)) is not None and self.holds(found):
            self.add(Clue(rank=1), found)
        if not self.holds(value):
            return
        if isinstance(index, ast.Name) or integer(index) is not None:
            self.add(Clue(is_sequence=True))
        if isinstance(index, ast.Constant) and isinstance(value, ast.Name) and self.held.key is None:
            part = self.read_as(value.id, {}, index.value)
            if part.is_known and index.value not in dict(self.clue.items):
                self.clue = replace(self.clue, items=(*self.clue.items, (index.value, part)))
        self.add(Clue(*dimensions(index)))
        if isinstance(index, ast.Tuple) and (size := element_size(index, self.numbered)):
            self.clue = replace(self.clue, reach=max(self.clue.reach, size))
        if isinstance(index, ast.Constant) and isinstance(index.value, str):
            self.add(Clue(attributes=frozenset({f"[{index.value}]"})))

    def compared(self, node: ast.Compare) -> None:
        """`kind == k` in a loop over numbered layers: a number of one of them."""
        count = self.numbered.get(getattr(node.comparators[0], "id", ""), 0)
        if count and isinstance(node.ops[0], ast.Eq) and self.holds(node.left):
            self.add(Clue(dtype=torch.int64, high=count), node.left)

    def looked_up(self, node: ast.AST) -> Any:
        return looked_up(node, self.module, self.locals)


_READERS: dict[type, Callable[[_Reader, Any], None]] = {
    ast.For: _Reader.loop,
    ast.comprehension: _Reader.loop,
    ast.Assign: _Reader.unpacked,
    ast.Call: _Reader.call,
    ast.Subscript: _Reader.subscript,
    ast.BinOp: lambda reader, node: reader.add(operator_clue(node, reader.holds, reader.looked_up)),
    ast.Compare: _Reader.compared,
}
