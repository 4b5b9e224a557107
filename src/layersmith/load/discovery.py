"""Finds the classes to examine in an imported module."""

from __future__ import annotations

import ast
import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TypeGuard

from torch import nn
from torch.jit import ScriptModule

from layersmith.errors import EmptyTargetError, TargetError
from layersmith.load.absent import Absent
from layersmith.load.abstract import SCRIPT, only_raises
from layersmith.probe import source

_PRIVATE_PARTS = {"tests", "test", "testing", "conftest", "__main__"}


def classes(module: ModuleType, name: str = "") -> list[type[nn.Module]]:
    """The concrete nn.Module classes that a module (or package) defines, in the order of their lines.

    Args:
        module: what was imported. Of a package, the classes in `__all__`, or else of all its submodules.
        name: take only the class of this name, wherever it was defined.

    Raises:
        TargetError: if there is no such class, or none at all.
    """
    if name:
        return [_named(module, name)]
    found = [cls for cls in _defined(module) if is_concrete(cls)]
    if not found:
        raise _none_there(module)
    return found


@dataclass(frozen=True, slots=True)
class Unreachable:
    """A class that is in the file and cannot be had, as one that exists only while a function runs."""

    name: str
    file: str
    line: int
    why: str
    hint: str = ""
    function: str = ""  # in which it is defined


Thing = type[nn.Module] | FunctionType | nn.Module | Unreachable


def things(module: ModuleType, name: str = "") -> list[Thing]:
    """What to examine in a module: as `classes`, and a function or object of that name; classes out of reach last.

    Raises:
        TargetError: if there is nothing of the kind.
    """
    named = getattr(module, name, None) if name.isidentifier() else None
    if isinstance(named, FunctionType | nn.Module):
        return [named]
    return [*classes(module, name), *([] if name else [*_undefined(module), *_inside_functions(module)])]


def is_concrete(cls: type[nn.Module]) -> bool:
    """Whether the class can be called: it has a forward that does more than raise, and hands up to one that does."""
    if inspect.isabstract(cls):
        return False
    for owner in cls.__mro__:
        forward = vars(owner).get("forward")
        if forward is None or owner is nn.Module:
            continue
        node = source.function_node(forward)
        if node is None or not _hands_up(node):
            return node is None or not only_raises(node.body)
    return False


def _hands_up(forward: source.Function) -> bool:
    """Whether it calls the one of its base: `return super().forward(*args)` of Lightning's, or of a class to mix in."""
    called = (part.func for part in ast.walk(forward) if isinstance(part, ast.Call))
    own = (one.value for one in called if isinstance(one, ast.Attribute) and one.attr == "forward")
    return any(isinstance(one, ast.Call) and getattr(one.func, "id", "") == "super" for one in own)


def _defined(module: ModuleType) -> list[type[nn.Module]]:
    if not hasattr(module, "__path__"):
        return _by_line(cls for cls in _members(module) if cls.__module__ == module.__name__)
    within = f"{module.__name__}."
    if hasattr(module, "__all__"):
        public = [_public(module, name) for name in module.__all__]
        return [cls for cls in public if _is_module_class(cls) and f"{cls.__module__}.".startswith(within)]
    parts = [module, *_submodules(module)]
    return [
        cls for part in parts for cls in _by_line(c for c in _members(part) if c.__module__ == part.__name__)
    ]


def _public(module: ModuleType, name: str) -> object:
    """What the package says that it has; None where it is loaded when it is asked for, and that fails."""
    try:
        return getattr(module, name, None)
    except Exception:  # noqa: BLE001 - whatever an import raises
        return None


def _members(module: ModuleType) -> list[type[nn.Module]]:
    return list(dict.fromkeys(member for member in vars(module).values() if _is_module_class(member)))


def _is_module_class(thing: object) -> TypeGuard[type[nn.Module]]:
    return inspect.isclass(thing) and issubclass(thing, nn.Module)


def _by_line(found: Iterator[type[nn.Module]]) -> list[type[nn.Module]]:
    return sorted(found, key=lambda cls: source.class_line(cls)[1])


def _submodules(package: ModuleType) -> Iterator[ModuleType]:
    """Every submodule that can be imported; the others (an optional dependency, say) are left out."""
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}.", onerror=lambda _: None):
        if _PRIVATE_PARTS & set(info.name.split(".")):
            continue
        try:
            yield importlib.import_module(info.name)
        except BaseException:  # noqa: BLE001, S112 - code of others: even SystemExit only means that this part is closed
            continue


def _named(module: ModuleType, name: str) -> type[nn.Module]:
    thing: object = module
    for part in name.split("."):
        thing = getattr(thing, part, None)
    if inspect.isclass(thing) and issubclass(thing, nn.Module):
        return thing
    if thing is not None:
        kind = "a class, but no nn.Module" if inspect.isclass(thing) else f"no class: {type(thing).__name__}"
        raise TargetError(f"{name} in {_called(module)} is {kind}")
    there = [cls.__name__ for cls in _defined(module)]
    close = difflib.get_close_matches(name, there, n=1)
    advice = f"did you mean {close[0]}?" if close else f"it has {', '.join(there) or 'no nn.Module class'}"
    raise TargetError(f"no class {name} in {_called(module)}; {advice}")


def _none_there(module: ModuleType) -> TargetError:
    called = _called(module)
    if unasked := _defined(module):
        names = ", ".join(cls.__name__ for cls in unasked)
        are_scripts = all(issubclass(cls, ScriptModule) for cls in unasked)
        kind = SCRIPT if are_scripts else "abstract (without a forward)"
        return TargetError(f"skipped: every nn.Module class in {called} is {kind}: {names}")
    inside = _inside_functions(module)
    if inside:
        names = ", ".join(dict.fromkeys(one.name for one in inside))
        return TargetError(
            f"skipped: {called} defines its nn.Module classes inside functions, out of reach: {names}"
        )
    imported = [cls.__name__ for cls in _members(module)]
    if imported:
        names = ", ".join(imported[:5])
        return EmptyTargetError(f"no nn.Module class is defined in {called}; it only imports {names}")
    return EmptyTargetError(f"no nn.Module class is defined in {called}")


def _undefined(module: ModuleType) -> Iterator[Unreachable]:
    """The classes with a forward whose definition needs what cannot be had."""
    file = getattr(module, "__file__", None) or ""
    for node in source.tree_of(file).body:
        absent = vars(module).get(getattr(node, "name", ""))
        if not isinstance(node, ast.ClassDef) or not isinstance(absent, Absent):
            continue
        if any(getattr(part, "name", "") == "forward" for part in node.body):
            yield Unreachable(node.name, file, node.lineno, absent.why)


def _inside_functions(module: ModuleType) -> list[Unreachable]:
    file = getattr(module, "__file__", None) or ""
    if not file.endswith(".py") or not Path(file).exists():
        return []
    return [*_below_functions(ast.parse(Path(file).read_bytes()), "", file)]


def _below_functions(node: ast.AST, function: str, file: str) -> Iterator[Unreachable]:
    """The module classes below a node that stand inside a function."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, source.Function):
            yield from _below_functions(child, child.name, file)
            continue
        if function and isinstance(child, ast.ClassDef) and any(map(_is_module_base, child.bases)):
            yield Unreachable(
                child.name,
                file,
                child.lineno,
                f"it is defined inside the function {function}, out of reach",
                f"if {function} returns it built, check {Path(file).name}::{function}",
                function,
            )
        yield from _below_functions(child, function, file)


def _is_module_base(base: ast.expr) -> bool:
    return ast.unparse(base) in {"nn.Module", "torch.nn.Module", "Module"}


def _called(module: ModuleType) -> str:
    file = getattr(module, "__file__", None)
    if not file or hasattr(module, "__path__"):
        return module.__name__
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
