"""Which expressions of a function are the parameter that is followed, and what of its shape they still have."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from layersmith.load.call.clue import Clue
from layersmith.load.call.lookup import looked_up
from layersmith.load.call.syntax import Rebinding, in_order, integer
from layersmith.probe import source

_KEEPS_SHAPE = {
    *("contiguous", "float", "clone", "to", "detach", "type", "double", "long"),
    *("cpu", "cuda", "half", "type_as", "requires_grad_", "masked_fill", "tolist"),
}
_ELEMENTWISE = {
    *("relu", "relu_", "gelu", "silu", "elu", "leaky_relu", "tanh", "sigmoid", "softplus", "dropout"),
    *("normalize", "softmax", "log_softmax", "exp", "log", "abs", "clamp", "layer_norm"),
}
_RESIZES = {"interpolate", "upsample", "pad", "max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d"}
_REORDERS = {"transpose", "permute", "swapaxes", "flip", "roll"}
_PARTS = {"split", "chunk", "tensor_split"}
_BROADCASTS = (ast.Add, ast.Sub, ast.Mult, ast.Div)
_KEEPING_LAYERS = (nn.Dropout, nn.Identity, nn.LayerNorm, nn.GroupNorm, _NormBase, nn.ReLU, nn.GELU, nn.SiLU)
_MAPS = (nn.Linear, _ConvNd)  # of the same rank, but another width
_DEEPEST = 3


@dataclass(frozen=True, slots=True)
class View:
    """What an expression has of the parameter's shape."""

    is_resized: bool = False  # its rank and channels, but no longer its other sizes
    is_other: bool = False  # its rank alone
    added: int = 0  # dimensions that it has got: `x.unsqueeze(0)`
    is_picked: bool = False  # one step of it: `x[:, 0]`
    is_packed: bool = False  # its data alone is a tensor

    @property
    def is_same(self) -> bool:
        """Whether it has the whole shape, or the channels at least."""
        return not (self.is_other or self.added or self.is_picked)

    def before(self, clue: Clue) -> Clue:
        """What a clue about the expression says about the parameter."""
        if self.is_packed:
            return Clue()
        if self.is_picked:  # of rows, where a layer takes its features
            steps = 1 + (max(clue.min_rank, 2) if (clue.last or 0) > 1 else clue.min_rank)
            clue = Clue(rank=clue.rank and clue.rank + 1, min_rank=steps, last=clue.last)
        if self.is_resized or self.added or self.is_other:
            clue = replace(clue, last=None, sizes=(), trailing=(), names=())
        if self.is_other:
            clue = Clue(rank=clue.rank, min_rank=clue.min_rank)
        if self.added:
            rank = clue.rank - self.added if clue.rank else None
            return replace(clue, rank=rank, min_rank=max(0, clue.min_rank - self.added), channels=None)
        return clue


@dataclass(slots=True)
class Held:
    """The names that hold the parameter at this point of the function, or a part of it."""

    alias: dict[str, View]
    look_up: Callable[[ast.AST], object]  # the object behind `self.norm`
    key: object = None  # of the part that is followed: `x["c3"]`, `x[0]`
    whole: set[str] = field(default_factory=set)  # names of what that part is of
    depth: int = 0

    def view(self, node: ast.AST | None) -> View | None:
        """What the expression has of the parameter's shape (or of that of the wanted part); None for others."""
        if isinstance(node, ast.BinOp):  # `x * mask`, `x + self.f(x)`: what it is combined with is broadcast
            is_elementwise = isinstance(node.op, _BROADCASTS)
            return (self.view(node.left) or self.view(node.right)) if is_elementwise else None
        if isinstance(node, ast.Call):
            return self.called(node)
        if isinstance(node, ast.Attribute) and node.attr == "data":
            whole = self.view(node.value)
            return whole and replace(whole, is_packed=False)
        if self.key is not None and isinstance(node, ast.Subscript):
            is_part = isinstance(node.slice, ast.Constant) and node.slice.value == self.key
            is_it = is_part and isinstance(node.value, ast.Name) and node.value.id in self.whole
            return View() if is_it else None
        if isinstance(node, ast.Subscript) and _is_step(node.slice):
            view = self.view(node.value)
            return replace(view, is_picked=True) if view is not None and view.is_same else None
        return self.alias.get(node.id) if isinstance(node, ast.Name) else None

    def holds(self, node: ast.AST | None) -> bool:
        """Whether the expression is the parameter, in rank and channels at least."""
        view = self.view(node)
        return view is not None and view.is_same

    def rebound(self, node: ast.Assign) -> None:
        """`x = self.embed(x)`: from here on the name is another thing; `y = x.float()`: one more name."""
        first, value = node.targets[0], node.value
        if (
            isinstance(first, ast.Tuple)
            and isinstance(value, ast.Tuple)
            and len(first.elts) == len(value.elts)
        ):
            for one, given in zip(first.elts, value.elts, strict=True):  # `text, aspect = x[0], x[1]`
                self.rebound(ast.Assign([one], given))
            return
        targets = (t for target in node.targets for t in ast.walk(target) if isinstance(t, ast.Name))
        names = {t.id for t in targets if isinstance(t.ctx, ast.Store)}  # not of `batch["ids"] = ...`
        parts = _taken_apart(node.value) if isinstance(node.targets[0], ast.Tuple) else None
        view = self.view(parts or node.value)
        if view is not None and (parts is not None or isinstance(node.targets[0], ast.Name)):
            self.alias |= dict.fromkeys(names, replace(view, is_other=True) if parts is not None else view)
        else:
            for name in names & self.alias.keys():
                del self.alias[name]

    def called(self, node: ast.Call) -> View | None:
        """What a call returns that is given the parameter: `x.float()`, `F.relu(x)`, `self.norm(x)`."""
        function = node.func
        name = getattr(function, "attr", getattr(function, "id", ""))
        own = self.view(function.value) if isinstance(function, ast.Attribute) else None
        if own is not None:
            return _of_method(own, name, node)
        first = self.view(node.args[0]) if node.args else None
        if first is None:
            return None
        if name in _RESIZES:
            return replace(first, is_resized=True)
        if name == "pack_padded_sequence":  # the steps of all rows, one below the other
            return replace(first, is_resized=True, is_packed=True, added=first.added - 1)
        called = self.look_up(function)
        if name in _ELEMENTWISE or isinstance(called, _KEEPING_LAYERS):
            return first
        return self.of_layer(first, called)

    def of_layer(self, view: View, called: object) -> View | None:
        """What a layer, method or function makes of it."""
        if isinstance(called, _MAPS):
            return replace(view, is_other=True)
        if isinstance(called, nn.Embedding):
            return replace(view, is_other=True, added=view.added + 1)
        if isinstance(called, nn.Sequential):
            found: View | None = view
            for part in called:
                is_kept = isinstance(part, _KEEPING_LAYERS)
                found = found if is_kept or found is None else self.of_layer(found, part)
            return found
        return view if self.depth < _DEEPEST and _hands_back(called, self.depth) else None


def _is_step(index: ast.expr) -> bool:
    """Whether this is the `:, 0` of `x[:, 0]`, or `:, -1, :`."""
    first, *rest = index.elts if isinstance(index, ast.Tuple) else [index]
    are_whole = all(isinstance(part, ast.Slice) and ast.unparse(part) == ":" for part in (first, *rest[1:]))
    return are_whole and bool(rest) and integer(rest[0]) is not None


def _taken_apart(node: ast.expr) -> ast.expr | None:
    """What is taken apart along one of its dimensions: `x` in `torch.split(x, 8, 1)` and `x.chunk(2, -1)`."""
    function = node.func if isinstance(node, ast.Call) else None
    if (
        not isinstance(node, ast.Call)
        or not isinstance(function, ast.Attribute)
        or function.attr not in _PARTS
    ):
        return None
    return next(iter(node.args), None) if getattr(function.value, "id", "") == "torch" else function.value


def _of_method(view: View, name: str, node: ast.Call) -> View | None:
    if name in _KEEPS_SHAPE:
        return view
    if name == "unsqueeze":
        return replace(view, added=view.added + 1)
    if name in _REORDERS:
        return replace(view, is_other=True)
    if joined := _joined(name, node):
        return replace(view, is_other=True, added=view.added - joined)
    is_one = len(node.args) + len(node.keywords) == 1 and all(word.arg == "dim" for word in node.keywords)
    given = [*node.args, *(word.value for word in node.keywords)]
    if name in ("mean", "sum", "max", "min") and is_one and integer(given[0]) is not None:
        return replace(view, is_other=True, added=view.added - 1) if name in ("mean", "sum") else None
    return None


def _joined(name: str, node: ast.Call) -> int:
    """How many dimensions less there are, the first ones made one: `x.view(-1, *x.shape[2:])`, `x.flatten(0, 1)`."""
    numbers = [integer(one) for one in node.args]
    if name == "flatten" and numbers == [0, 1]:
        return 1
    rest = node.args[1] if name in ("view", "reshape") and len(node.args) == 2 and numbers[0] == -1 else None  # noqa: PLR2004
    index = getattr(rest.value, "slice", None) if isinstance(rest, ast.Starred) else None
    is_behind = isinstance(index, ast.Slice) and index.upper is None and "shape" in ast.unparse(rest or node)
    first = integer(index.lower) if is_behind and isinstance(index, ast.Slice) and index.lower else None
    return max(0, (first or 1) - 1)


def _hands_back(called: Any, depth: int) -> bool:
    """Whether a function, a method or a module of the user's returns its first argument in its shape."""
    is_module = isinstance(called, nn.Module)
    function = source.forward(type(called)) if is_module else called
    is_users = inspect.ismethod(function) or inspect.isfunction(function)
    if not is_users or (function.__module__ or "torch.").startswith("torch."):
        return False  # torch.fx names no module for what it generates
    node = source.function_node(function)
    names = [argument.arg for argument in node.args.args] if node is not None else []
    has_self = is_module or inspect.ismethod(function)
    if node is None or len(names) <= has_self:
        return False
    owner = called if is_module else getattr(called, "__self__", None)
    held = Held({names[has_self]: View()}, lambda part: looked_up(part, owner, {}), depth=depth + 1)
    returned: list[bool] = []
    for event in in_order(node):
        if isinstance(event, Rebinding):
            held.rebound(event.node)
        elif isinstance(event, ast.Return):
            returned.append(held.holds(event.value))
    return bool(returned) and all(returned)
