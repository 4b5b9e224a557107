"""What a constructor does with its parameters, read from its source: which of them end without any effect."""

from __future__ import annotations

import ast
import functools
import linecache
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from layersmith.probe import dataflow, refilled, source

HARMLESS = re.compile(
    r"^(?:_.*|device|dtype|name|verbose|debug|log\w*|unused\w*|deprecated\w*|dummy\w*|args|kwargs|factory_kwargs|"
    r"config|cfg|layer_idx|layer_id|training|quiet|prefix|inplace)$"
)
SAID_UNUSED = re.compile(
    r"unused|not used|deprecat|ignored|compat|legacy|reserved|placeholder|no effect|no-op|noop|interface|noqa: ARG",
    re.IGNORECASE,
)
ACTS = re.compile(r"(?:^|_)(?:kernel|ksize|dilation|dropout|drop)(?:_size|_rate|_prob|_p)?$")
_INTERFACE = 3  # parameters, self among them, with which two constructors may begin by chance
SHOWS = {"extra_repr", "__repr__", "__str__"}


@dataclass(frozen=True, slots=True)
class Idle:
    """A parameter that changes nothing: what becomes of it, and where."""

    name: str
    line: int
    how: str


@functools.lru_cache(maxsize=512)
def idle(cls: type, values: dataflow.Names = frozenset()) -> tuple[Idle, ...]:
    """The constructor's parameters that its class does nothing with; variadic ones left out.

    Args:
        cls: the class.
        values: its attributes that hold no more than a function, which only counts where it is read.
    """
    owner = next((base for base in cls.__mro__ if "__init__" in vars(base)), nn.Module)
    node = source.function_node(vars(owner).get("__init__"))
    if node is None or owner is nn.Module or node.decorator_list or reflects(cls) or _is_trivial(node):
        return ()
    reading = dataflow.Reading(dataflow.simplified(node, _scope(owner)), values)
    live = reading.live(lambda name: is_read(cls, name))
    found = []
    for argument in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs][1:]:
        name, overwritten = argument.arg, _overwritten(node, argument.arg)
        attribute, again = refilled.refilled(cls, node, name)
        is_meant = name in reading.deleted or HARMLESS.match(name) or _is_said(cls, node, name)
        if is_meant or (name in live and not (overwritten or again)) or _is_interface(owner, node, name):
            continue
        how = reading.end(name, dataflow.loads(node))
        if overwritten:
            how = f"replaced in line {overwritten} before it is read"
        elif again:
            how = f"what self.{attribute} is made of, which line {again} fills anew"
        found.append(Idle(name, overwritten or again or argument.lineno, how))
    return tuple(found)


def _overwritten(node: source.Function, name: str) -> int:
    """The line of a plain statement that replaces a parameter before anything has read it; 0 if there is none."""
    for statement in node.body:
        if name in dataflow.loads(statement):
            return 0
        if isinstance(statement, ast.Assign) and name in {
            end for t in statement.targets for end in dataflow.ends_of(t)
        }:
            return statement.lineno
        if any(isinstance(part, ast.Name) and part.id == name for part in ast.walk(statement)):
            return 0
    return 0


def is_read(cls: Any, attribute: str) -> bool:
    """Whether anything but a constructor's own assignment, or a text for people, reads the attribute."""
    owner = next((base for base in cls.__mro__ if "__init__" in vars(base)), cls)
    if any(attribute in _names_read(base) for base in cls.__mro__ if base not in (nn.Module, object)):
        return True
    if any(
        attribute in getattr(base, "__annotations__", {}) for base in cls.__mro__[1:] if base is not owner
    ):
        return True
    return is_read_in_file(owner, attribute) or _is_read_elsewhere(owner, attribute)


def is_read_in_file(owner: type, attribute: str) -> bool:
    """Whether its file reads the attribute elsewhere than in the class, or of another object than `self`."""
    home, own = source.tree_of(source.file_of(owner)), source.class_node(owner)
    inside = {id(part) for part in ast.walk(own)} if own is not None else set()
    inside |= {id(part) for other in _with_their_own(home, attribute) for part in ast.walk(other)}
    return any(_reads(part, attribute, is_inside=id(part) in inside) for part in ast.walk(home))


def _with_their_own(tree: ast.Module, attribute: str) -> list[ast.ClassDef]:
    """The classes that set an attribute of this name themselves: what they read of `self` is theirs."""
    classes = [part for part in ast.walk(tree) if isinstance(part, ast.ClassDef)]
    return [one for one in classes if any(_sets_own(part, attribute) for part in ast.walk(one))]


def _sets_own(node: ast.AST, attribute: str) -> bool:
    is_own = isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "self"
    return (
        is_own
        and isinstance(node, ast.Attribute)
        and node.attr == attribute
        and isinstance(node.ctx, ast.Store)
    )


def _scope(cls: type) -> dict[str, Any]:
    return vars(sys.modules[cls.__module__]) if cls.__module__ in sys.modules else {}


@functools.lru_cache(maxsize=1024)
def _names_read(cls: type) -> dataflow.Names:
    """The attributes of `self` that a class's methods read, where the answer makes a difference."""
    node = source.class_node(cls)
    methods = [child for child in node.body if isinstance(child, source.Function)] if node is not None else []
    methods = [method for method in methods if method.name not in {"__init__", *SHOWS}]
    simplified = [dataflow.simplified(method, _scope(cls)) for method in methods]
    return frozenset(
        name[5:] for method in simplified for name in dataflow.loads(method) if name.startswith("self.")
    )


def _reads(node: ast.AST, attribute: str, *, is_inside: bool) -> bool:
    """Whether a node reads it: through another object than `self` in the class, anyhow outside; or names it in text."""
    if isinstance(node, ast.Constant):
        return node.value == attribute
    if not isinstance(node, ast.Attribute) or node.attr != attribute or isinstance(node.ctx, ast.Store):
        return False
    return not is_inside or getattr(node.value, "id", "") != "self"


def _is_read_elsewhere(owner: type, attribute: str) -> bool:
    """Whether another imported file of the same package reads an attribute of this name."""
    package, _, rest = owner.__module__.partition(".")
    if not rest or package == "layersmith":
        return False
    name = re.escape(attribute)
    read = re.compile(rf"\.{name}\b(?!\s*=[^=])")
    by_another = re.compile(rf"(?<!\bself)\.{name}\b(?!\s*=[^=])")
    sets = re.compile(rf"\bself\.{name}\s*(?::[^=\n]+)?=[^=]")
    files = {
        getattr(module, "__file__", None) or ""
        for name, module in [*sys.modules.items()]
        if name.startswith(f"{package}.")
    } - {source.file_of(owner), ""}
    texts = ["".join(linecache.getlines(file)) for file in files if file.endswith(".py")]
    if ACTS.search(attribute):  # of whatever others read such a thing, it does something in its own class
        texts = [text for text in texts if owner.__name__ in text]
    return any((by_another if sets.search(text) else read).search(text) for text in texts)


def _is_said(cls: type, node: source.Function, name: str) -> bool:
    """Whether a comment or docstring near the name says that it is not used."""
    own = source.class_node(cls)
    file = source.file_of(cls) if own is not None else ""
    lines = linecache.getlines(file)[own.lineno - 1 : node.end_lineno] if own is not None else []
    word = re.compile(rf"\b{re.escape(name)}\b")
    return any(word.search(line) and SAID_UNUSED.search(line) for line in lines)


def _is_interface(owner: Any, node: source.Function, name: str) -> bool:
    """Whether another class of the file begins with the same parameters and does use this one: one call makes either."""
    if _is_fixed_for_base(node, name):
        return True
    if any(name == getattr(part.value, "id", "") for part in ast.walk(node) if isinstance(part, ast.Assign)):
        return False  # who keeps it means to use it
    signature = [argument.arg for argument in node.args.args]
    first = signature[: signature.index(name) + 1] if name in signature else []
    for other in ast.walk(source.tree_of(source.file_of(owner))):
        if not isinstance(other, ast.FunctionDef) or other.name != "__init__" or other.lineno == node.lineno:
            continue
        theirs = [argument.arg for argument in other.args.args]
        is_alike = theirs == signature or (len(first) > _INTERFACE and theirs[: len(first)] == first)
        if is_alike and name in _loads_in(other):
            return True
    return False


def _is_fixed_for_base(node: source.Function, name: str) -> bool:
    """Whether the base is given a constant in the parameter's place: `super().__init__(a, b, kernel, stride, 0)`."""
    place = next((i for i, a in enumerate(node.args.args[1:]) if a.arg == name), -1)
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("().__init__"):
            given = {word.arg: word.value for word in call.keywords} | dict(enumerate(call.args))
            return isinstance(given.get(name, given.get(place)), ast.Constant)
    return False


def _loads_in(node: ast.FunctionDef) -> dataflow.Names:
    return frozenset(name for statement in node.body for name in dataflow.loads(statement))


def reflects(cls: type) -> bool:
    """Whether the class or a base of it looks at its arguments or attributes by other means than their names."""
    return any(dataflow.REFLECTION.search(text) for text in _texts(cls))


def _texts(cls: type) -> Iterator[str]:
    for base in cls.__mro__:
        if base not in (nn.Module, object) and not base.__module__.startswith("torch."):
            node = source.class_node(base)
            lines = linecache.getlines(source.file_of(base)) if node is not None else []
            yield "".join(lines[node.lineno - 1 : node.end_lineno]) if node is not None else ""


def _is_trivial(node: source.Function) -> bool:
    """Whether the constructor does nothing but call that of its base without arguments: a placeholder."""
    return all(
        isinstance(part, ast.Pass | ast.Raise)
        or (isinstance(part, ast.Expr) and ast.unparse(part.value).endswith("__init__()"))
        or (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))
        for part in node.body
    )


def file(cls: type) -> str:
    """The file of the constructor."""
    return source.file_of(next((base for base in cls.__mro__ if "__init__" in vars(base)), cls))


def is_kept(cls: Any, name: str) -> bool:
    """Whether the constructor keeps a parameter as it is, for later: `self.device = device`."""
    node = source.function_node(cls.__init__)
    return any(
        isinstance(part, ast.Assign)
        and getattr(part.value, "id", "") == name
        and any(isinstance(target, ast.Attribute) for target in part.targets)
        for part in (ast.walk(node) if node is not None else ())
    )
