"""Whether an error is a slip: a name that is nowhere, or what Python or torch never lets one do."""

from __future__ import annotations

import ast
import re
import sys
import traceback
import types

from layersmith.probe import source
from layersmith.probe.refusal import failing_text

LEFT_OUT = "__left_out__"  # on a package whose __init__ failed: what of that was not run
GAP = re.compile(r"\{\w*\}|%\w")  # of a text that is filled in
DOTTED = re.compile(r"name can\\?'t contain \"\.\", got: ([\w.]+)")
ALWAYS = re.compile(
    r"being modified inplace. This view is the output|Legacy autograd function with non-static forward|"
    r"super\(type, obj\): obj must be an instance|invalid subscript given at index \d+ in the equation|"
    r"'torch\.Size' object is not callable|'super' object has no attribute '(?:_init_|__int__|_int_|__init_|_init__)'"
)
OF_A_MODULE = re.compile(r"module '([\w.]+)' has no attribute '(\w+)'")


def is_slip(error: BaseException) -> bool:
    """Whether the code that raised names what is nowhere: a global name, or a member that an imported module lacks.

    Or whether it does what Python or torch never lets it: it starts a class that is no base of its, or its base by
    `_init_`, writes into one of several views that a function returned, calls a shape, or a Function whose forward is
    not static, or gives a part of itself a name with a dot.
    """
    if isinstance(error, KeyError) and (dotted := DOTTED.search(str(error))):
        return any(
            part in dotted[1] for text in _failing_texts(error) for part in GAP.split(text) if "." in part
        )
    if isinstance(error, RuntimeError | TypeError | AttributeError) and ALWAYS.search(str(error)):
        return True
    if isinstance(error, UnboundLocalError):
        return _is_set_later(error)
    if isinstance(error, NameError):
        return "free variable" not in str(error) and not may_be_set(error)
    said = OF_A_MODULE.match(str(error))  # which says it itself, as NumPy does of `np.int`
    owner, name = (sys.modules.get(said[1]), said[2]) if said else (None, "")
    asked, name = getattr(error, "obj", None), getattr(error, "name", None) or name
    owner = owner if asked is None else asked  # a tensor has no truth
    is_folder = getattr(getattr(owner, "__spec__", None), "origin", "") is None  # that bears a package's name
    is_whole = isinstance(owner, types.ModuleType) and not (is_folder or hasattr(owner, LEFT_OUT))
    is_of_module = isinstance(error, AttributeError) and is_whole
    return is_of_module and f".{name}" in failing_text(error)


def may_be_set(error: NameError) -> bool:
    """Whether the file sets the global name that is missing: below `__main__`, in a branch, or by a function."""
    *_, (frame, _) = (None, 0), *traceback.walk_tb(error.__traceback__)
    if frame is None or isinstance(error, UnboundLocalError):
        return False
    tree = source.tree_of(frame.f_code.co_filename)
    outside = (one for one in tree.body if not isinstance(one, source.Function | ast.ClassDef))
    named = (part for one in outside for part in ast.walk(one) if isinstance(part, ast.Name))
    told = (part for part in ast.walk(tree) if isinstance(part, ast.Global))
    is_set = any(one.id == error.name and isinstance(one.ctx, ast.Store) for one in named)
    return is_set or any(error.name in one.names for one in told)


def _is_set_later(error: UnboundLocalError) -> bool:
    """Whether the function sets that name only where it reads it, or below: `h3 = relu(self.linear(h3))`."""
    *_, (frame, line) = (None, 0), *traceback.walk_tb(error.__traceback__)
    node = source.code_node(frame.f_code) if frame is not None else None
    parts = [*ast.walk(node)] if node is not None else []
    loops = any(isinstance(part, ast.For | ast.While) for part in parts)
    found = re.search(r"variable '(\w+)'", str(error))
    stores = [
        part.lineno
        for part in parts
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store) and found and part.id == found[1]
    ]
    return bool(stores) and not loops and min(stores) >= line


def _failing_texts(error: BaseException) -> list[str]:
    """The texts that are written in the innermost statement outside torch that an error went through."""
    for frame, line in reversed([*traceback.walk_tb(error.__traceback__)]):
        file = frame.f_code.co_filename
        if not file.startswith(source.TORCH) and not source.is_machinery(file):
            plain = (one for one in ast.walk(source.tree_of(file)) if isinstance(one, ast.Expr | ast.Assign))
            here = (one for one in plain if one.lineno <= line <= (one.end_lineno or 0))
            parts = (part for one in here for part in ast.walk(one) if isinstance(part, ast.Constant))
            return [part.value for part in parts if isinstance(part.value, str)]
    return []
