"""Where in the source a class, an attribute or an error is: file and line, read from syntax trees."""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
import sys
import textwrap
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import torch
from torch import nn

UNKNOWN = ("", 0)
TORCH = str(Path(torch.__file__).parent)
STARTS = {"__init__", "reset_parameters", "_reset_parameters", "init_weights", "_init_weights", "extra_repr"}
OWN = str(Path(__file__).parent.parent)
_EXAMINED = (str(Path(OWN) / "nn"), str(Path(OWN) / "rules"))
_REGISTERS = "register_buffer register_parameter register_module add_module setattr __setattr__".split()
WRAPPED = "__wrapped__"

Function = ast.FunctionDef | ast.AsyncFunctionDef


def class_line(cls: type) -> tuple[str, int]:
    """File and line of the class statement, of a decorator's class that which it was given; ("", 0) without source."""
    while WRAPPED in vars(cls):
        cls = vars(cls)[WRAPPED]
    node = class_node(cls)
    return (file_of(cls), node.lineno) if node is not None else UNKNOWN


def attribute_line(cls: type, name: str) -> tuple[str, int]:
    """Where `self.<name>` is first set, or registered under that name; the class itself before its bases."""
    for base in _own_classes(cls):
        node = class_node(base)
        line = _setting_line(node, name) if node is not None else 0
        if line:
            return file_of(base), line
    return UNKNOWN


def member_line(cls: type, name: str) -> tuple[str, int]:
    """Where a class defines a method of that name, or sets the attribute; the class's own line otherwise."""
    node = class_node(cls)
    for child in node.body if node is not None else ():
        if isinstance(child, Function) and child.name == name:
            return file_of(cls), child.lineno
    found = attribute_line(cls, name)
    return found if found[1] else class_line(cls)


def error_line(error: BaseException, module: nn.Module) -> tuple[str, int]:
    """The innermost frame in a file of the module tree's classes, else the innermost not in torch."""
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    files = {file_of(cls) for cls in map(type, nn.Module.modules(module))} - {""}
    own = [frame for frame in frames if frame[0] in files and not frame[0].startswith(TORCH)]
    outside = [frame for frame in frames if not frame[0].startswith((TORCH, OWN, "<frozen"))]
    return (own or outside or [UNKNOWN])[-1]


def is_refusal(error: BaseException, module: nn.Module) -> bool:
    """Whether the module's own code refuses, by an `assert` or a `raise`: no operation failed."""
    file, line = error_line(error, module)
    return any(
        isinstance(node, ast.Raise | ast.Assert) and node.lineno <= line <= (node.end_lineno or 0)
        for node in ast.walk(tree_of(file))
    )


@functools.lru_cache(maxsize=512)
def text_of(cls: type) -> str:
    """The source of a class; "" where there is none."""
    try:
        return inspect.getsource(cls)
    except (OSError, TypeError):
        return ""


def is_machinery(file: str) -> bool:
    """Whether a file is Layersmith's own, and no layer or example of it."""
    return file.startswith(OWN) and not file.startswith(_EXAMINED)


def is_torchs(module: str) -> bool:
    """Whether a module's name is torch's or below it."""
    return module.partition(".")[0] == "torch"


def owner(root: nn.Module, path: str) -> tuple[nn.Module, str]:
    """The submodule that holds a parameter, buffer or module, and its name there: "block.0.weight"."""
    parent, _, leaf = path.rpartition(".")
    try:
        return root.get_submodule(parent), leaf
    except AttributeError:
        return root, path


def is_in_stand_in(root: nn.Module, path: str) -> bool:
    """Whether a parameter belongs to a module of Layersmith's, which takes the place of one that nobody knows."""
    cls: type = type(owner(root, path)[0])
    return is_machinery(file_of(cls))


def parameter_line(root: nn.Module, path: str) -> tuple[str, int]:
    """Where the user's own code makes a parameter: for "linear.weight", the line of `self.linear = ...`."""
    while path:
        holder, attribute = owner(root, path)
        place = attribute_line(type(holder), attribute)
        if place[1] and not place[0].startswith(TORCH):
            return place
        path = path.rpartition(".")[0]
    return class_line(type(root))


@functools.lru_cache(maxsize=1024)
def methods_naming(cls: type, attribute: str) -> frozenset[str]:
    """The methods of a class, its bases below nn.Module and its subclasses whose source names `self.<attribute>`."""
    found = set()
    for base in (*_own_classes(cls), *_heirs(cls)):
        node = class_node(base)
        for method in _methods(node) if node is not None else ():
            if any(_names_attribute(part, attribute) for part in ast.walk(method)):
                found.add(method.name)
    return frozenset(found)


def methods_using(cls: type, attribute: str) -> frozenset[str]:
    """Those of `methods_naming` that do more than start a module, or show it."""
    return methods_naming(cls, attribute) - STARTS


def is_read_when_built(cls: type, attribute: str) -> bool:
    """Whether a constructor hands `self.<attribute>` on: to another name, a call or a container."""
    nodes = [class_node(base) for base in _own_classes(cls)]
    built = [m for node in nodes if node is not None for m in _methods(node) if m.name == "__init__"]
    parts = [part for method in built for part in ast.walk(method)]
    opened = {id(part.value) for part in parts if isinstance(part, ast.Attribute)}  # as in self.norm.weight
    reads = (part for part in parts if isinstance(getattr(part, "ctx", None), ast.Load))
    return any(_names_attribute(part, attribute) and id(part) not in opened for part in reads)


@functools.lru_cache(maxsize=1024)
def file_of(cls: type) -> str:
    """The file that defines the class; a notebook cell's own name; "" if unknown."""
    for member in vars(cls).values():
        function = inspect.unwrap(getattr(member, "__func__", member)) if callable(member) else None
        if not isinstance(function, FunctionType):
            continue
        if function.__module__ == cls.__module__ or WRAPPED in vars(cls):
            name = function.__code__.co_filename
            if linecache.getlines(name):
                return name
    return getattr(sys.modules.get(cls.__module__), "__file__", None) or ""


@functools.lru_cache(maxsize=1024)
def class_node(cls: type) -> ast.ClassDef | None:
    """The syntax tree of the class statement, with the line numbers of its file."""
    is_renamed = WRAPPED in vars(cls)  # by a decorator, which makes a class of its own and calls it as that
    nodes = _class_nodes(file_of(cls))
    candidates = [node for name, node in nodes if is_renamed or name == cls.__qualname__]
    lines = {
        member.__code__.co_firstlineno
        for member in map(unwrapped, vars(cls).values())
        if isinstance(member, FunctionType)
    }
    for node in candidates:  # a class that was defined again: the one that holds the methods
        if any(node.lineno <= line <= (node.end_lineno or 0) for line in lines):
            return node
    return candidates[-1] if candidates and not is_renamed else None


def forward(cls: type) -> Any:
    """A class's `forward`; nn.Module's own where there is none to be had, as of a compiled class."""
    return getattr(cls, "forward", nn.Module.forward)


def methods(cls: type) -> list[ast.FunctionDef]:
    """Those in the class statement, as they stand; none without source."""
    node = class_node(cls)
    return [child for child in node.body if isinstance(child, ast.FunctionDef)] if node is not None else []


@functools.lru_cache(maxsize=4096)
def function_node(function: Any) -> Function | None:
    """The syntax tree of a function or method, with the line numbers of its file; None without source."""
    code = getattr(unwrapped(function), "__code__", None)
    return code_node(code) if code is not None else None


def code_node(code: CodeType) -> Function | None:
    """The syntax tree of the function that was compiled to this code; None without source."""
    for node in ast.walk(tree_of(code.co_filename)):
        if (
            isinstance(node, Function)
            and node.name == code.co_name
            and _first_line(node) == code.co_firstlineno
        ):
            return node
    return None


def unwrapped(member: Any) -> Any:
    """The function that a method or a decorator stands for."""
    try:
        return inspect.unwrap(getattr(member, "__func__", member))
    except Exception:  # noqa: BLE001 - a member whose __getattr__ lies has no source either
        return member


def _first_line(node: Function) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


@functools.lru_cache(maxsize=256)
def tree_of(file: str) -> ast.Module:
    """The syntax tree of a file or notebook cell; an empty one if it cannot be read."""
    text = "".join(linecache.getlines(file)) if file else ""
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):
        return _dedented(text)


def _dedented(text: str) -> ast.Module:
    try:
        return ast.parse(textwrap.dedent(text))
    except (SyntaxError, ValueError):
        return ast.Module([], [])


@functools.lru_cache(maxsize=256)
def _class_nodes(file: str) -> tuple[tuple[str, ast.ClassDef], ...]:
    return tuple(_qualified(tree_of(file), ""))


def _qualified(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.ClassDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield prefix + child.name, child
            yield from _qualified(child, f"{prefix}{child.name}.")
        elif isinstance(child, Function):
            yield from _qualified(child, f"{prefix}{child.name}.<locals>.")
        else:
            yield from _qualified(child, prefix)


def _own_classes(cls: type) -> list[type]:
    return [base for base in cls.__mro__ if base not in (nn.Module, object)]


def _heirs(cls: type) -> list[type]:
    children: list[type] = cls.__subclasses__()
    return [heir for child in children for heir in (child, *_heirs(child))]


def _methods(node: ast.ClassDef) -> list[Function]:
    methods = [child for child in node.body if isinstance(child, Function)]
    return sorted(methods, key=lambda method: method.name != "__init__")


def _setting_line(node: ast.ClassDef, name: str) -> int:
    for method in _methods(node):
        lines = [part.lineno for part in ast.walk(method) if isinstance(part, ast.expr) and _sets(part, name)]
        if lines:
            return min(lines)
    return next((child.lineno for child in node.body if _assigns(child, name)), 0)


def _sets(node: ast.expr, name: str) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr == name and isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name)
    if not isinstance(node, ast.Call):
        return False
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    words = [word.value for word in node.keywords if word.arg == "name"]
    return called in _REGISTERS and any(_is_text(part, name) for part in [*node.args[:2], *words])


def _assigns(node: ast.stmt, name: str) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return any(isinstance(target, ast.Name) and target.id == name for target in targets)


def _names_attribute(node: ast.AST, name: str) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr == name and isinstance(node.value, ast.Name) and node.value.id == "self"
    is_getattr = isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "setattr")
    return is_getattr and isinstance(node, ast.Call) and any(_is_text(part, name) for part in node.args[1:2])


def _is_text(node: ast.AST, text: str) -> bool:
    return isinstance(node, ast.Constant) and node.value == text
