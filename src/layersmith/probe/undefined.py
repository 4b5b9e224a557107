"""Names that a class uses and that nothing defines: global ones, and attributes of `self`."""

from __future__ import annotations

import ast
import builtins
import dis
import functools
import linecache
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from torch import nn

from layersmith.probe import source

DYNAMIC = re.compile(
    r"\bglobals\(\)|\bexec\(|(?<![.\w])eval\(|\blocals\(\)|\bvars\(|__dict__|__getattr|__setattr__"
)
STAR = "*"  # the name under which a file keeps what it has imported by `*` from a package that is not there
NAMING = {"setattr", "__setattr__", "getattr", "hasattr", "register_buffer", "register_parameter"}
NAMING |= {"add_module", "register_module"}
GUARDS = {"", "NameError", "AttributeError", "Exception", "BaseException"}
ASKED = re.compile(r"version|PY2|PY3|platform|TYPE_CHECKING|hasattr|is_scripting|__torch|_available")
_OF_MODULES = frozenset(vars(nn.Module()))  # as `training`
_NEIGHBOURS = 200  # files beside the class's
_LONGEST = 400_000  # characters of a file


@dataclass(frozen=True, slots=True)
class Unknown:
    """A name that nothing defines, and where it is used."""

    name: str
    file: str
    line: int


def names(cls: type[nn.Module]) -> Iterator[Unknown]:
    """Global names in the methods of a class, and in the functions of its file that they call."""
    seen: set[CodeType] = set()
    waiting = [function for owner in owners(cls) for function in _functions(owner)]
    while waiting:
        function = waiting.pop(0)
        if function.__code__ in seen or not _is_plain(function.__code__.co_filename):
            continue
        seen.add(function.__code__)
        for name, line in globals_of(function.__code__):
            value = function.__globals__.get(name)
            if isinstance(value, FunctionType) and value.__module__ == function.__module__:
                waiting.append(value)
            file = function.__code__.co_filename
            is_known = name in function.__globals__ or hasattr(builtins, name) or binds(file, name)
            is_known |= STAR in function.__globals__
            if not is_known and not is_guarded(file, line):
                yield Unknown(name, file, line)


def attributes(cls: type[nn.Module], module: nn.Module | None) -> Iterator[Unknown]:
    """Attributes of `self` that a method of the class reads, that it hasn't got, and that nothing ever sets.

    Args:
        cls: the class.
        module: one of it; without, nothing is said of what inherits from more than its own package and nn.Module.
    """
    if any(DYNAMIC.search(source.text_of(owner)) for owner in owners(cls)):
        return
    others = {base for base in cls.__mro__ if source.is_torchs(base.__module__)} - {nn.Module}
    tops = {owner.__module__.partition(".")[0] for owner in owners(cls)}
    if module is None and (others or len(tops) > 1 or any(map(_computes_names, owners(cls)))):
        return
    for owner in owners(cls):
        node, file = source.class_node(owner), source.file_of(owner)
        if node is None or not _is_plain(file):
            continue
        for name, line in _read_of_self(node):
            kept = _mangled(name, owner)
            has_it = hasattr(cls, kept) or (_defines(file, name) if module is None else _has(module, kept))
            if has_it or name in _OF_MODULES or is_guarded(file, line) or _is_set(cls, file, name):
                continue
            yield Unknown(name, file, line)


def _computes_names(owner: type) -> bool:
    """Whether a class sets what is called by a text of its making: `setattr(self, f"token_{i}", ...)`."""
    node = source.class_node(owner)
    calls = [part for part in ast.walk(node) if isinstance(part, ast.Call)] if node is not None else []
    for one in calls:
        setter = ast.unparse(one.func).rpartition(".")[2]
        place = 1 if "setattr" in setter else 0
        is_setter = setter in NAMING - {"getattr", "hasattr"} and len(one.args) > place
        if is_setter and isinstance(one.args[place], ast.JoinedStr | ast.BinOp | ast.Call):
            return True
    return False


def _defines(file: str, name: str) -> bool:
    """Whether a class of the file, as one that derives from this one, has a method or an attribute of that name."""
    classes = [part for part in ast.walk(source.tree_of(file)) if isinstance(part, ast.ClassDef)]
    named = {getattr(child, "name", "") for one in classes for child in one.body}
    set_ = {getattr(t, "id", "") for one in classes for c in one.body for t in getattr(c, "targets", [])}
    return name in named | set_


def _mangled(name: str, owner: type) -> str:
    """The name under which Python keeps a private one: `self.__mask` in a class Block is `_Block__mask`."""
    is_private = name.startswith("__") and not name.endswith("__")
    return f"_{owner.__name__.lstrip('_')}{name}" if is_private else name


def owners(cls: type) -> list[type]:
    """The class and its bases below nn.Module that are not torch's."""
    return [
        base
        for base in cls.__mro__
        if base not in (nn.Module, object) and not source.is_torchs(base.__module__)
    ]


def _functions(cls: type) -> Iterator[FunctionType]:
    for member in vars(cls).values():
        for part in (member, *(getattr(member, end, None) for end in ("__func__", "fget", "fset"))):
            if isinstance(plain := source.unwrapped(part), FunctionType):
                yield plain


@functools.lru_cache(maxsize=256)
def _is_plain(file: str) -> bool:
    """Whether it is a file whose names are those that its text binds; a notebook's cell is none."""
    tree = source.tree_of(file)
    hidden = [
        part for part in ast.walk(tree) if isinstance(part, ast.ImportFrom) and part.names[0].name == "*"
    ]
    return Path(file).exists() and all(part in tree.body for part in hidden)


def globals_of(code: CodeType) -> Iterator[tuple[str, int]]:
    """The global names that a function and the functions in it load, each with its line."""
    line = code.co_firstlineno
    for step in dis.get_instructions(code):
        line = (step.positions.lineno if step.positions else None) or line
        if step.opname == "LOAD_GLOBAL":
            yield step.argval, line
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from globals_of(inner)


def binds(file: str, name: str) -> bool:
    """Whether anything in the file binds the name, wherever it stands: it may have been deleted, or not imported."""
    return name in _bound(file) or bool(
        DYNAMIC.search("".join(linecache.getlines(file)).partition("class ")[0])
    )


@functools.lru_cache(maxsize=256)
def _bound(file: str) -> set[str]:
    found: set[str] = set()
    functions = [part for part in ast.walk(source.tree_of(file)) if isinstance(part, source.Function)]
    inside = {id(part) for function in functions for child in function.body for part in ast.walk(child)}
    for part in ast.walk(source.tree_of(file)):
        if isinstance(part, ast.Global):
            found |= {*part.names}
        if id(part) in inside:
            continue
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store | ast.Del):
            found.add(part.id)
        elif isinstance(part, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).partition(".")[0] for alias in part.names}
        elif isinstance(part, source.Function | ast.ClassDef):
            found.add(part.name)
    return found


def is_guarded(file: str, line: int, *, also: str = "") -> bool:
    """Whether the line is one of a `try` that catches its failure, or `also` another, or stands behind a question.

    For a version, or for what is there.
    """
    for part in ast.walk(source.tree_of(file)):
        if not isinstance(part, ast.Try | ast.If | ast.IfExp | ast.BoolOp):
            continue
        if not part.lineno <= line <= (part.end_lineno or 0):
            continue
        if isinstance(part, ast.Try):
            caught = {end for one in part.handlers for end in _caught(one)}
            if caught & (GUARDS | {also}) and line < part.handlers[0].lineno:
                return True
        elif ASKED.search(ast.unparse(part if isinstance(part, ast.BoolOp) else part.test)):
            return True
    return False


def _caught(handler: ast.ExceptHandler) -> list[str]:
    if handler.type is None:
        return [""]
    return [ast.unparse(one).rpartition(".")[2] for one in getattr(handler.type, "elts", [handler.type])]


def _read_of_self(node: ast.ClassDef) -> Iterator[tuple[str, int]]:
    for method in node.body:
        if not isinstance(method, source.Function) or not method.args.args or _is_of_class(method):
            continue
        own = method.args.args[0].arg
        for part in ast.walk(method):
            is_own = isinstance(part, ast.Attribute) and getattr(part.value, "id", "") == own
            if is_own and isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Load):
                yield part.attr, part.lineno


def _is_of_class(method: source.Function) -> bool:
    return any(ast.unparse(one) in ("classmethod", "staticmethod") for one in method.decorator_list)


def _has(module: nn.Module, name: str) -> bool:
    """Whether the module has it, registered or plain; a property that fails is one too."""
    return name in vars(module) or any(name in held for held in _registered(module))


def _registered(module: nn.Module) -> list[dict[str, Any]]:
    return [module._parameters, module._buffers, module._modules]  # noqa: SLF001 - without running __getattr__


def _is_set(cls: type, file: str, name: str) -> bool:
    """Whether a file of the package, imported or beside the class's own, sets it, or registers it under its name."""
    return any(_sets_in(cls, source.tree_of(path), name) for path in _files(file, name))


def _sets_in(cls: type, tree: ast.Module, name: str) -> bool:
    """Whether anything does but an unrelated class, which sets an attribute of the same name of its own."""
    classes = [part for part in ast.walk(tree) if isinstance(part, ast.ClassDef)]
    kin = _kin({owner.__name__ for owner in owners(cls)}, classes)
    strange = [part for part in classes if part.name not in kin]
    own_of_others = {id(part) for one in strange for part in ast.walk(one) if _names_self(part)}
    is_loose = any(_is_loose(part) for part in ast.walk(tree))
    return any(
        _sets(part, name, is_loose=is_loose) for part in ast.walk(tree) if id(part) not in own_of_others
    )


def _kin(names: set[str], classes: list[ast.ClassDef]) -> set[str]:
    """The class and its bases, those that derive from it, and what these derive from beside it."""
    bases = {one.name: {ast.unparse(base).rpartition(".")[2] for base in one.bases} for one in classes}
    heirs = {*names}
    while more := {one for one, of in bases.items() if of & heirs} - heirs:
        heirs |= more
    return heirs | {base for one in heirs for base in bases.get(one, set())}


def _names_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "self"


def _is_loose(node: ast.AST) -> bool:
    """Whether a name that is computed is set: any text may be one."""
    is_setattr = isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in NAMING
    return (
        is_setattr
        and isinstance(node, ast.Call)
        and not any(isinstance(a, ast.Constant) for a in node.args[:2])
    )


def _sets(node: ast.AST, name: str, *, is_loose: bool) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr == name and not isinstance(node.ctx, ast.Load)
    if isinstance(node, ast.AnnAssign):  # as a class that TorchScript reads says it
        return getattr(node.target, "id", "") == name
    if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in NAMING:
        return any(isinstance(one, ast.Constant) and one.value == name for one in node.args[:2])
    return is_loose and isinstance(node, ast.Constant) and node.value == name


def _files(file: str, name: str) -> Iterator[str]:
    """The files that may set an attribute of a class in this one."""
    beside = [str(path) for path in sorted(Path(file).parent.glob("*.py"))[:_NEIGHBOURS]]
    for path in dict.fromkeys([file, *beside, *sorted(_package_of(file))]):
        is_short = path.endswith(".py") and Path(path).exists() and Path(path).stat().st_size < _LONGEST
        if is_short and name in "".join(linecache.getlines(path)):
            yield path


def _package_of(file: str) -> set[str]:
    """The files that are imported of the package to which this one belongs."""
    imported = {name: getattr(module, "__file__", None) for name, module in [*sys.modules.items()]}
    tops = {name.partition(".")[0] for name, path in imported.items() if path == file}
    return {
        path for name, path in imported.items() if isinstance(path, str) and name.partition(".")[0] in tops
    }
