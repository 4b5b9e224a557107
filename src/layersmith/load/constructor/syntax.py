"""Small questions about the syntax trees of constructors."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Mapping
from typing import Any, TypeGuard

from torch import Tensor, nn

from layersmith.probe import source

_TENSOR_MAKERS = {"tensor", "as_tensor", "FloatTensor", "Tensor"}
_OTHERS = {name for kind in (str, bytes, int, float, list, dict, set, nn.Module) for name in dir(kind)}
TENSOR_METHODS = set(dir(Tensor)) - _OTHERS  # what is done with nothing but tensors: `bias.unsqueeze(1)`
TYPED_GETTER = re.compile(
    r"^get_?(bool|boolean|int|float|string|str)$"
)  # of pyhocon, configparser and others
_LISTS = {"ModuleList", "Sequential", "list", "tuple"}


def is_slice(node: ast.expr) -> TypeGuard[ast.Subscript]:
    """Whether this is `sizes[1:]`."""
    return isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice)


def field_name(node: ast.AST) -> str:
    """The attribute or key of `config.width`, `config["width"]`, `config.get_int("width")`; of a `getattr`, too."""
    if isinstance(node, ast.Attribute):
        return node.attr
    if is_getattr(node):
        return str(node.args[1].value)
    if isinstance(node, ast.Call):
        is_one = len(node.args) == 1 and isinstance(node.args[0], ast.Constant)
        asks = is_one and isinstance(node.func, ast.Attribute) and TYPED_GETTER.match(node.func.attr)
        return str(node.args[0].value) if asks and isinstance(node.args[0], ast.Constant) else ""
    key = node.slice.value if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) else ""
    return key if isinstance(key, str) else ""


def owner_of(node: ast.AST) -> ast.AST:
    """The `config` of what has a field name."""
    if is_getattr(node):
        owner: ast.AST = node.args[0]
        return owner
    inner = node.func if isinstance(node, ast.Call) else node
    return getattr(inner, "value", inner)


def is_getattr(node: ast.AST) -> TypeGuard[Any]:
    """Whether this is `getattr(config, "width", 8)`."""
    is_call = isinstance(node, ast.Call) and getattr(node.func, "id", "") == "getattr"
    return is_call and len(node.args) > 1 and isinstance(getattr(node.args[1], "value", None), str)  # type: ignore[attr-defined]


def given_beside(node: ast.Call, callee: Any, rest: str) -> set[str] | None:
    """What a module class is given beside `**rest`; None for a call of something else, or without it."""
    is_handed = rest and any(
        word.arg is None and getattr(word.value, "id", "") == rest for word in node.keywords
    )
    if not is_handed or not inspect.isclass(callee) or not issubclass(callee, nn.Module):
        return None
    told = [given for given in node.args if not isinstance(given, ast.Starred)]
    names = list(inspect.signature(callee).parameters)[: len(told)]
    return {*names, *(word.arg for word in node.keywords if word.arg)}


def last_name(node: ast.expr) -> str:
    """`Parameter` of `nn.Parameter`."""
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def resolved(node: ast.AST, scope: Mapping[str, Any]) -> Any:
    """The object that a dotted name means in a scope; None if it is not known there, or Python's own."""
    if isinstance(node, ast.Name):
        return scope.get(node.id)
    if isinstance(node, ast.Attribute):
        try:
            return getattr(resolved(node.value, scope), node.attr, None)
        except Exception:  # noqa: BLE001 - a package's stand-in for what is not installed raises what it likes
            return None
    return None


def keys_of(table: ast.expr, scope: Mapping[str, Any]) -> list[str]:
    """The texts by which one picks from a dict that is written there, or that a name means in a scope."""
    if isinstance(table, ast.Dict):
        keys = [key.value for key in table.keys if isinstance(key, ast.Constant)]
    else:
        keys = [*held] if type(held := resolved(table, scope)) is dict else []
    return [key for key in keys if isinstance(key, str)]


def activations(owner: Any) -> list[str]:
    """The names of activations that an object has, for `getattr(nn, config.activation)`."""
    return [word for word in ("ReLU", "relu", "GELU", "gelu") if hasattr(owner, word)]


def conditions(test: ast.expr) -> list[ast.expr]:
    """What is asked whether it is true: `a` and `b` of `a and not b`."""
    if isinstance(test, ast.BoolOp):
        return [part for value in test.values for part in conditions(value)]
    return conditions(test.operand) if isinstance(test, ast.UnaryOp) else [test]


def compared(node: ast.Compare) -> tuple[ast.expr, list[str]]:
    """What is compared, and the texts that it may be: `mode == "sum"`, `mode.lower() in ("sum", "mean")`; or has."""
    left, right = node.left, node.comparators[0]
    if isinstance(node.ops[0], ast.In) and isinstance(left, ast.Constant) and len(node.ops) == 1:
        return right, [left.value] if isinstance(left.value, str) else []
    if isinstance(left, ast.Call) and isinstance(left.func, ast.Attribute):
        left = left.func.value
    options = (
        [right] if isinstance(right, ast.Constant) else getattr(right, "elts", getattr(right, "keys", []))
    )
    values = [option.value for option in options if isinstance(option, ast.Constant)]
    return left, [value for value in values if isinstance(value, str) and len(node.ops) == 1]


def contents(node: ast.expr) -> ast.expr:
    """`layers` for `nn.ModuleList(layers)`: the same things under a roof."""
    is_list = isinstance(node, ast.Call) and last_name(node.func) in _LISTS and len(node.args) == 1
    inner = node.args[0] if is_list and isinstance(node, ast.Call) else node
    return inner.value if isinstance(inner, ast.Starred) else inner


def table_of(node: ast.expr) -> ast.expr:
    """`vectors` for `torch.tensor(vectors)`, of which an embedding is made."""
    is_made = isinstance(node, ast.Call) and last_name(node.func) in _TENSOR_MAKERS and node.args
    return node.args[0] if is_made and isinstance(node, ast.Call) else node


def parameters_of(function: source.Function | None) -> list[str]:
    """The names of what a caller gives to a function or, without its `self`, to a method."""
    arguments = function.args if function is not None else ast.arguments([], [], None, [], [], None, [])
    named = [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return named[1:] if named[:1] == ["self"] else named
