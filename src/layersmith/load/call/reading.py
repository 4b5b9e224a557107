"""Reads forward's syntax tree against the live module: what the first consumers of a parameter accept."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from layersmith.load.call.clue import Clue
from layersmith.load.call.functions import function_clue
from layersmith.load.call.stated import documented_clue
from layersmith.load.call.syntax import (
    Rebinding,
    element_size,
    in_order,
    integer,
    is_ellipsis_or_none,
    is_super,
)
from layersmith.load.call.torch_modules import clue_of
from layersmith.probe import source

_KEEPS_SHAPE = {"contiguous", "float", "clone", "to", "detach", "type", "double", "long"}
_ELEMENTWISE = {
    *("relu", "relu_", "gelu", "silu", "elu", "leaky_relu", "tanh", "sigmoid", "softplus", "dropout"),
    *("normalize", "softmax", "log_softmax", "exp", "log", "abs", "clamp", "layer_norm"),
}
_KEEPING_LAYERS = (nn.Dropout, nn.Identity, nn.LayerNorm, nn.GroupNorm, _NormBase, nn.ReLU, nn.GELU, nn.SiLU)
_WITH_INDEX = {"size", "transpose", "mean", "sum", "flatten", "unsqueeze", "squeeze"}
_RESHAPING = (nn.Flatten, nn.Unflatten)
_PICKING = {
    *("gather", "scatter", "scatter_", "scatter_add", "scatter_add_", "scatter_reduce", "index_select"),
    *("index_add", "index_add_", "index_copy_", "bincount"),
}
_DEEPEST = 6
_ITERABLES = (list, tuple, nn.ModuleList, nn.Sequential)


def parameter_clue(module: nn.Module, parameter: str) -> Clue:
    """What forward does first with the parameter of this name."""
    return _read(module, type(module).forward, parameter, 0)


def module_clue(module: nn.Module, position: int, *, keyword: str = "", depth: int = 0) -> Clue:
    """What a submodule accepts at a position or keyword: torch.nn's by attributes, others by their source."""
    if depth > _DEEPEST:
        return Clue()
    if isinstance(module, nn.Sequential | nn.ModuleList):
        return _first_child(module, depth)
    known = clue_of(module, position)
    if known is not None:
        return known
    name = keyword or _parameter_at(type(module).forward, position)
    found = _read(module, type(module).forward, name, depth + 1) if name else Clue()
    if found.is_known or not name:
        return found
    sizes = {key: value for key, value in vars(module).items() if type(value) is int}
    return documented_clue(type(module), name, sizes)


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


def _parameter_at(function: Any, position: int) -> str:
    names = list(inspect.signature(function).parameters)[1:]
    return names[position] if position < len(names) else ""


def _read(module: nn.Module, function: Any, parameter: str, depth: int) -> Clue:
    node = source.function_node(function)
    if node is None or depth > _DEEPEST:
        return Clue()
    reader = _Reader(module, getattr(inspect.unwrap(function), "__globals__", {}), {parameter}, depth, node)
    for event in in_order(node):
        reader.read(event)
        if not reader.alias:
            break
    return reader.clue


@dataclass(slots=True)
class _Reader:
    """Follows one parameter through one function."""

    module: nn.Module
    scope: dict[str, Any]
    alias: set[str]  # local names that hold the parameter
    depth: int
    function: source.Function | None = None
    locals: dict[str, Any] = field(default_factory=dict)  # loop variables that hold submodules
    clue: Clue = field(default_factory=Clue)
    key: object = None  # of the part that is followed: `x["c3"]`, `x[0]`
    repeated: dict[ast.Call, int] = field(default_factory=dict)  # a call -> the rank of its result
    numbered: dict[str, int] = field(default_factory=dict)  # the number of an item -> how many there are
    whole: set[str] = field(default_factory=set)  # names of what that part is of

    def read(self, event: ast.AST | Rebinding) -> None:
        if isinstance(event, Rebinding):
            self.rebound(event.node)
        elif isinstance(event, ast.For | ast.comprehension):
            self.loop(event)
        elif isinstance(event, ast.Assign):
            self.unpacked(event)
        elif isinstance(event, ast.Call):
            self.call(event)
        elif isinstance(event, ast.Subscript):
            self.subscript(event)
        elif isinstance(event, ast.BinOp):
            self.operator(event)
        elif isinstance(event, ast.Attribute) and self.holds(event.value):
            self.add(Clue(attributes=frozenset({event.attr})))

    def holds(self, node: ast.AST | None) -> bool:
        """Whether the expression is the parameter (or the wanted part of it), in shape at least."""
        if isinstance(node, ast.BinOp):
            sides = (node.left, node.right)
            is_scaled = any(isinstance(side, ast.Constant) for side in sides)
            return is_scaled and any(self.holds(side) for side in sides)
        if isinstance(node, ast.Call):
            return self.keeps(node)
        if self.key is not None and isinstance(node, ast.Subscript):
            is_part = isinstance(node.slice, ast.Constant) and node.slice.value == self.key
            return is_part and isinstance(node.value, ast.Name) and node.value.id in self.whole
        return isinstance(node, ast.Name) and node.id in self.alias

    def add(self, clue: Clue) -> None:
        self.clue = self.clue.merged(clue)

    def rebound(self, node: ast.Assign) -> None:
        """`x = self.embed(x)`: from here on the name is another thing; `y = x.float()`: one more name."""
        names = {t.id for target in node.targets for t in ast.walk(target) if isinstance(t, ast.Name)}
        is_same = self.holds(node.value) or self.keeps(node.value)
        if is_same and isinstance(node.targets[0], ast.Name):
            self.alias |= names
        else:
            self.alias -= names

    def keeps(self, node: ast.expr) -> bool:
        function = node.func if isinstance(node, ast.Call) else None
        if (
            isinstance(function, ast.Attribute)
            and function.attr in _KEEPS_SHAPE
            and self.holds(function.value)
        ):
            return True
        first = node.args[0] if isinstance(node, ast.Call) and node.args else None
        if function is None or not self.holds(first):
            return False
        name = getattr(function, "attr", getattr(function, "id", ""))
        return name in _ELEMENTWISE or isinstance(self.looked_up(function), _KEEPING_LAYERS)

    def loop(self, node: ast.For | ast.comprehension) -> None:
        if isinstance(node.target, ast.Tuple) and isinstance(node.iter, ast.Call):
            called = getattr(node.iter.func, "id", "")
            if called == "enumerate" and len(node.target.elts) == 2:  # noqa: PLR2004 - number and item
                layers = self.looked_up(node.iter.args[0])
                if isinstance(node.target.elts[0], ast.Name) and isinstance(layers, nn.ModuleList):
                    self.numbered[node.target.elts[0].id] = len(layers)
                self.walked([(node.target.elts[1], node.iter.args[0])])
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
            several = list(looped) if isinstance(looped, _ITERABLES) else [None]
            if isinstance(target, ast.Tuple):
                rows = [list(one) if isinstance(one, _ITERABLES) else [] for one in several[:1]]
                self.locals.update(_named(target.elts, rows[0] if rows else []))
            elif isinstance(target, ast.Name) and several:
                layers[target.id] = several
        self.locals.update({name: several[0] for name, several in layers.items()})
        if items:
            self.items_of(items, layers if len(together) > 1 else {})

    def items_of(self, name: str, layers: dict[str, list[Any]]) -> None:
        """What is done with each item: as many as there are layers beside it, else one for all."""
        beside = {n: several for n, several in layers.items() if isinstance(next(iter(several)), nn.Module)}
        count = min(map(len, beside.values()), default=0)
        known = [{n: several[index] for n, several in beside.items()} for index in range(count)]
        clues = [self.read_as(name, held) for held in known or [{}]]
        if any(clue.is_known for clue in clues):
            self.add(Clue(items=tuple(enumerate(clues)) if count else ((None, clues[0]),)))

    def read_as(self, name: str, held: dict[str, Any], key: object = None) -> Clue:
        """What the function does with another name, or with a part of one."""
        if self.function is None or self.depth >= _DEEPEST:
            return Clue()
        alias = {name} if key is None else set()
        reader = _Reader(self.module, self.scope, alias, self.depth + 1, self.function, dict(self.locals))
        reader.key, reader.whole = key, {name}
        for event in in_order(self.function):
            reader.locals.update(held)
            reader.read(event)
        return reader.clue

    def looked_up(self, node: ast.AST) -> Any:
        """The object behind `self.a.b[0]`, or a loop variable."""
        try:
            if isinstance(node, ast.Attribute):
                is_self = isinstance(node.value, ast.Name) and node.value.id == "self"
                return getattr(self.module if is_self else self.looked_up(node.value), node.attr, None)
            if isinstance(node, ast.Subscript):
                held = self.looked_up(node.value)
                return held[node.slice.value] if isinstance(node.slice, ast.Constant) else next(iter(held))
            return self.locals.get(node.id) if isinstance(node, ast.Name) else None
        except Exception:  # noqa: BLE001 - attributes of the user's objects may do anything
            return None

    def unpacked(self, node: ast.Assign) -> None:
        """`b, c, h, w = x.shape`; `q, k = x`."""
        target, value = node.targets[0], node.value
        if not isinstance(target, ast.Tuple):
            return
        starred = any(isinstance(part, ast.Starred) for part in target.elts)
        count = len(target.elts)
        if self.is_shape(value):
            names = tuple(getattr(part, "id", "_") for part in target.elts)
            self.add(Clue(min_rank=count - 1) if starred else Clue(rank=count, names=names))
        elif isinstance(value, ast.Tuple) and value.elts and isinstance(value.elts[0], ast.Starred):
            if self.is_shape(value.elts[0].value) and not starred:  # (*x.shape, self.heads)
                self.add(Clue(rank=count - len(value.elts) + 1))
        elif self.holds(value) and not starred and isinstance(value, ast.Name):
            names_of_parts = [getattr(part, "id", "") for part in target.elts]
            clues = [self.read_as(name, {}) if name not in ("", "_") else Clue() for name in names_of_parts]
            items = tuple(enumerate(clues)) if any(clue.is_known for clue in clues) else ()
            self.add(Clue(parts=count, items=items))

    def is_shape(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            return node.func.attr == "size" and not node.args and self.holds(node.func.value)
        return isinstance(node, ast.Attribute) and node.attr == "shape" and self.holds(node.value)

    def call(self, node: ast.Call) -> None:
        self.gathered(node)
        if getattr(node.func, "attr", "") in ("repeat", "expand") and len(node.args) > 1:
            inner = getattr(node.func, "value", None)
            if isinstance(inner, ast.Call):  # x.unsqueeze(1).repeat(1, n, 1)
                self.repeated[inner] = len(node.args)
        if isinstance(node.func, ast.Attribute) and self.holds(node.func.value):
            self.method(node, node.func.attr)
        position = next((i for i, argument in enumerate(node.args) if self.holds(argument)), None)
        keyword = next((word.arg for word in node.keywords if self.holds(word.value) and word.arg), "")
        if position is not None or keyword:
            self.passed(node, position or 0, keyword)

    def gathered(self, node: ast.Call) -> None:
        """`p.gather(1, target.view(-1, 1))`: what picks are whole numbers."""
        name = getattr(node.func, "attr", "")
        if name not in _PICKING:
            return
        is_of_torch = getattr(getattr(node.func, "value", None), "id", "") == "torch"
        place = 0 if name == "bincount" else 1 + is_of_torch
        picks = [
            *node.args[place : place + 1],
            *(word.value for word in node.keywords if word.arg == "index"),
        ]
        inner = [part for pick in picks for part in ast.walk(pick)]
        if any(map(self.holds, inner)):
            is_vector = name in ("bincount", "index_select") or name.startswith("index_")
            self.add(Clue(dtype=torch.int64, rank=1 if is_vector and self.holds(picks[0]) else None))

    def method(self, node: ast.Call, name: str) -> None:
        if name == "unsqueeze" and node in self.repeated:
            self.add(Clue(rank=self.repeated[node] - 1))
        numbers = [value for argument in node.args[:2] for value in [integer(argument)] if value is not None]
        if name == "permute" and node.args:
            listed = node.args[0].elts if isinstance(node.args[0], ast.Tuple | ast.List) else node.args
            order = tuple(map(integer, listed))
            self.add(Clue(rank=len(listed), names=("b", "c", "h", "w") if order == (0, 2, 3, 1) else ()))
        elif name in _WITH_INDEX and numbers:
            needed = max(number + 1 if number >= 0 else -number for number in numbers)
            self.add(Clue(min_rank=needed - 1 if name == "unsqueeze" else needed))

    def passed(self, node: ast.Call, position: int, keyword: str) -> None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        called = self.looked_up(node.func)
        if isinstance(called, nn.Module):
            self.add(self.module_clue(node, called, position, keyword))
        elif inspect.ismethod(called) and called.__self__ is self.module:
            parameter = keyword or _parameter_at(called.__func__, position)
            self.add(_read(self.module, called.__func__, parameter, self.depth + 1) if parameter else Clue())
        elif is_super(node.func):
            self.passed_up(name, position, keyword)
        else:
            self.add(function_clue(node, name, position, self.looked_up))

    def module_clue(self, node: ast.Call, called: nn.Module, position: int, keyword: str) -> Clue:
        if keyword.endswith("key_padding_mask"):
            return Clue(rank=2, dtype=torch.bool)
        if isinstance(called, nn.EmbeddingBag) and position == 0 and len(node.args) + len(node.keywords) > 1:
            return Clue(rank=1, dtype=torch.int64, high=called.num_embeddings)
        if keyword:
            names = list(inspect.signature(type(called).forward).parameters)[1:]
            position = names.index(keyword) if keyword in names else position
        return module_clue(called, position, keyword=keyword, depth=self.depth)

    def passed_up(self, name: str, position: int, keyword: str) -> None:
        for base in type(self.module).__mro__[1:]:
            if name in vars(base):
                known = clue_of(self.module, position) if base.__module__.startswith("torch.nn") else None
                parameter = keyword or _parameter_at(vars(base)[name], position)
                self.add(known or _read(self.module, vars(base)[name], parameter, self.depth + 1))
                return

    def subscript(self, node: ast.Subscript) -> None:
        value, index = node.value, node.slice
        if isinstance(value, ast.Attribute) and value.attr == "shape" and self.holds(value.value):
            number = integer(index)
            self.add(Clue(min_rank=(number + 1 if number >= 0 else -number) if number is not None else 0))
        if not self.holds(value):
            return
        if isinstance(index, ast.Name) or integer(index) is not None:
            self.add(Clue(is_sequence=True))
        if isinstance(index, ast.Constant) and isinstance(value, ast.Name) and self.key is None:
            part = self.read_as(value.id, {}, index.value)
            known = dict(self.clue.items)
            if part.is_known and index.value not in known:
                self.clue = replace(self.clue, items=(*self.clue.items, (index.value, part)))
        if isinstance(index, ast.Tuple) and not any(is_ellipsis_or_none(part) for part in index.elts):
            self.add(Clue(min_rank=len(index.elts)))
        if isinstance(index, ast.Tuple) and (size := element_size(index, self.numbered)):
            self.clue = replace(self.clue, reach=max(self.clue.reach, size))
        if isinstance(index, ast.Constant) and isinstance(index.value, str):
            self.add(Clue(attributes=frozenset({f"[{index.value}]"})))

    def operator(self, node: ast.BinOp) -> None:
        """`x @ self.weight`, `x * self.scale`, `x + self.position`: a raw parameter fixes the last size."""
        if self.holds(node.left) and isinstance(node.op, ast.MatMult):
            self.add(self.product_clue(node.right))
        elif isinstance(node.op, ast.Add | ast.Sub | ast.Mult | ast.Div):
            other = node.right if self.holds(node.left) else node.left if self.holds(node.right) else None
            tensor = self.looked_up(other) if other is not None else None
            if isinstance(tensor, Tensor) and tensor.dim() and tensor.shape[-1] > 1:
                self.add(Clue(last=int(tensor.shape[-1]), min_rank=_used_rank(tensor)))

    def product_clue(self, right: ast.expr) -> Clue:
        is_transposed = isinstance(right, ast.Attribute) and right.attr in ("T", "mT")
        is_transposed |= isinstance(right, ast.Call) and getattr(right.func, "attr", "") in ("t", "transpose")
        inner = getattr(right, "value", None) or getattr(getattr(right, "func", None), "value", None)
        weight = self.looked_up(inner if is_transposed and inner is not None else right)
        if not isinstance(weight, Tensor) or not weight.dim():
            return Clue()
        return Clue(
            last=int(weight.shape[-1] if is_transposed or weight.dim() == 1 else weight.shape[-2]), min_rank=1
        )


def _named(targets: Iterable[ast.expr], values: Iterable[Any]) -> dict[str, Any]:
    return {t.id: v for t, v in zip(targets, values, strict=False) if isinstance(t, ast.Name)}


def _used_rank(tensor: Tensor) -> int:
    """The rank without leading dimensions of size 1, and one for the batch where there are any."""
    leading = next((i for i, size in enumerate(tensor.shape) if size != 1), tensor.dim())
    return tensor.dim() if leading else tensor.dim() + 1 if tensor.dim() > 1 else 1
