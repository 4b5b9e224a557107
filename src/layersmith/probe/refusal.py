"""Whether an error is a refusal, raised by a statement that says so, or an accident."""

from __future__ import annotations

import ast
import functools
import linecache
import re
import traceback
from collections.abc import Mapping
from typing import Any

from torch import nn

from layersmith.probe import options, source, standing

# Whatever raised them: something is not there.
MISSING = (ImportError, NotImplementedError, MemoryError, OSError)
ACCIDENTS = (NameError, RecursionError)  # also raised on purpose they mean a slip
TOO_LARGE = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "Storage size calculation overflowed",
)
NO_CARD = re.compile(  # torch without CUDA, CUDA without a card, or with one that is hidden or out of reach
    "not compiled with CUDA|without ATen_cuda|NVIDIA driver|No CUDA GPUs|cudaGetDeviceCount|CUDA unknown error|"
    "Cannot access accelerator device|Device index must not be negative"
)
TOO_SMALL = ("greater than actual input size", "Output size is too small")  # the map, for a kernel or a pool
NOTHING = re.compile(r"of 0 elements|(?:division|modulo) by zero|non-zero size")
SHORTCUT = re.compile(r"identity|resid|skip|shortcut", re.IGNORECASE)
WIDTHS = re.compile(
    r"^(?:in|out)_?(?:c|chs?|channels|planes|dim|features)?$|dim_?(?:in|out)|(?:in|out)put_dim"
)
LISTS = re.compile(r"isinstance\((\w+), .*\b(?:tuple|list)\b")
PART = re.compile(r"module|layer|block|net$|backbone|encoder|decoder|model")  # what may be called
PRECISION = re.compile(r"(?:fp|float|bf)_?16|half|precision|dtype")
DTYPES = re.compile(r"[dD]type|[tT]ype \(.*should be the same|[sS]calar type")
AUTOGRAD = f"{source.TORCH}/autograd/"
MODULE = f"{source.TORCH}/nn/modules/module.py"  # its checks answer slips: an attribute that was never set
CONTAINER = f"{source.TORCH}/nn/modules/container.py"  # a layer that a list has not


def is_refusal(error: BaseException) -> bool:
    """Whether a `raise` or an `assert` refused what was given, in whoever's code."""
    if isinstance(error, MISSING) or any(text in str(error) for text in (*TOO_LARGE, *TOO_SMALL)):
        return True
    if NO_CARD.search(str(error)):
        return True
    frames = [*traceback.walk_tb(error.__traceback__)]
    if isinstance(error, ACCIDENTS) or not frames:
        return False
    file, line = frames[-1][0].f_code.co_filename, frames[-1][1]
    if file in (MODULE, CONTAINER):
        return False
    return _raises(file, line)


def is_too_small(error: BaseException) -> bool:
    """Whether a map has no room for a kernel or a pool."""
    return any(text in str(error) for text in TOO_SMALL)


def is_of_a_call(error: BaseException) -> bool:
    """Whether a module raised it while it was called, or autograd behind it, not what watched the call."""
    files = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    is_inside = MODULE in files or files[-1].startswith(AUTOGRAD)
    return is_inside and not source.is_machinery(files[-1])


def is_of_width(error: BaseException) -> bool:
    """Whether a layer of torch's raised it that has weights: it was built for inputs of another width."""
    calls = [
        (frame.f_code.co_filename, frame.f_locals) for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    layers = [given.get("self") for file, given in calls if file.startswith(source.TORCH) and file != MODULE]
    return any(isinstance(getattr(one, "weight", None), nn.Parameter) for one in layers)


def takes_apart(error: BaseException, cls: type) -> bool:
    """Whether the failing statement of forward unpacks one of its arguments: more was meant to come."""
    node = source.function_node(getattr(cls, "forward", None))
    try:
        statement = ast.parse(failing_text(error).strip()).body[0]
    except (SyntaxError, IndexError):  # the head of a block
        return False
    if node is None or not isinstance(statement, ast.Assign):
        return False
    names = {one.arg for one in (*node.args.args, *node.args.kwonlyargs)} - {"self"}
    is_unpacked = isinstance(statement.targets[0], ast.Tuple) and "unpack" in str(error)
    return is_unpacked and isinstance(statement.value, ast.Name) and statement.value.id in names


def is_optional(error: BaseException) -> bool:
    """Whether a name is missing that the file imports within a `try`: of what is not installed here.

    Or is None, as `except ImportError: flash = None` left it.
    """
    frames = [*traceback.walk_tb(error.__traceback__)]
    if not frames or not (isinstance(error, NameError) or "NoneType" in str(error)):
        return False
    tries = [
        one for one in ast.walk(source.tree_of(frames[-1][0].f_code.co_filename)) if isinstance(one, ast.Try)
    ]
    tried = [part for node in tries for one in node.body for part in ast.walk(one)]
    imports = [part for part in tried if isinstance(part, ast.Import | ast.ImportFrom)]
    names = {alias.asname or alias.name.partition(".")[0] for part in imports for alias in part.names}
    if isinstance(error, NameError):
        return error.name in names
    nothing = {name for name in names if frames[-1][0].f_globals.get(name, error) is None}
    return any(re.search(rf"\b{name}\b", failing_text(error)) for name in nothing)


def takes_lists_too(cls: type) -> bool:
    """Whether forward asks if an argument is a list, and elsewhere takes parts of it: an option may want a list there."""
    node = source.function_node(getattr(cls, "forward", None))
    branches = (
        [part for part in ast.walk(node) if isinstance(part, ast.If | ast.IfExp)] if node is not None else []
    )
    asked = [(one, LISTS.search(ast.unparse(one.test))) for one in branches]
    names = {found[1] for _, found in asked if found is not None}
    within = {part for one, found in asked if found is not None for part in ast.walk(one)}
    parts = [part for part in ast.walk(node) if isinstance(part, ast.Subscript)] if node is not None else []
    return any(
        getattr(part.value, "id", "") in names and isinstance(part.slice, ast.Constant)
        for part in parts
        if part not in within
    )


def line_of(error: BaseException, file: str) -> int:
    """The innermost line of a file that an error went through; 0 if it did not."""
    lines = [
        line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == file
    ]
    return lines[-1] if lines else 0


def asks_a_class(error: BaseException) -> bool:
    """Whether what was asked of a module of the user's was asked of a class of torch's, which stood in its place."""
    owner = getattr(error, "obj", None)
    is_class = isinstance(error, AttributeError) and isinstance(owner, type) and issubclass(owner, nn.Module)
    return is_class and source.is_torchs(getattr(owner, "__module__", ""))


def wants_another(cls: type[nn.Module], given: Mapping[str, Any], name: str, error: BaseException) -> bool:
    """Whether the failing statement names another argument that is None, or lacks one that is 0: `name` needs it set.

    Or whether a module is called that another argument would have been.

    Args:
        cls: the class that was built with `name` changed.
        given: its arguments that are not at their defaults.
        name: of the argument that was changed.
        error: what was raised.
    """
    others = {n: options.current(cls, given, n) for n in options.names(cls, given) if n != name}
    if NOTHING.search(str(error)) and any(type(value) is int and not value for value in others.values()):
        return True
    missing = {n for n, value in others.items() if value is None}
    kept = {f"self.{attribute}" for attribute, n in standing.kept_as(cls).items() if n in missing}
    text = failing_text(error)
    if "'NoneType' object is not callable" in str(error) and any(map(PART.search, missing)):
        return True  # one of a Sequential: `[down, submodule, up]`
    return (
        bool(missing) and "None" in str(error) and (not text or any(word in text for word in missing | kept))
    )


def wants_a_dtype(name: str, error: BaseException) -> bool:
    """Whether an option of a dtype, `use_fp16`, meets a module and inputs of another, which its caller would convert."""
    return PRECISION.search(name) is not None and DTYPES.search(str(error)) is not None


def runs_off(cls: type[nn.Module], usual: Mapping[str, Any], name: str, error: BaseException) -> bool:
    """Whether a count no longer fits a list among the usual arguments that has an entry for each."""
    lists = [value for value in usual.values() if isinstance(value, list | tuple)]
    return isinstance(error, IndexError) and any(
        len(one) == options.current(cls, usual, name) for one in lists
    )


def wants_equal_widths(
    cls: type[nn.Module], given: Mapping[str, Any], name: str, error: BaseException
) -> bool:
    """Whether a shortcut was switched on around layers that may change the width; arguments as `wants_another`."""
    widths = [options.current(cls, given, one) for one in _widths(cls, given)]
    are_equal = len(widths) > 1 and len({str(width) for width in widths}) == 1
    is_mismatch = bool(widths) and not are_equal and "must match the size of tensor" in str(error)
    return is_mismatch and SHORTCUT.search(name) is not None


def equal_widths(cls: type[nn.Module], given: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """The widths of inputs and outputs, all as the first of them."""
    widths = _widths(cls, given)
    return tuple((one, options.current(cls, given, widths[0])) for one in widths[1:])


def _widths(cls: type[nn.Module], given: Mapping[str, Any]) -> list[str]:
    return [one for one in options.names(cls, given) if WIDTHS.search(one.rpartition(".")[2])]


def is_placeholder(name: str, error: BaseException) -> bool:
    """Whether a default of None is for another case: a field of a config that has to be set, or used in one branch.

    Args:
        name: of the argument whose default it is; of a field, `config.width`.
        error: what was raised with None.
    """
    if "None" not in str(error):
        return False
    for frame, line in reversed([*traceback.walk_tb(error.__traceback__)]):
        file = frame.f_code.co_filename
        if not file.startswith(source.TORCH) and not source.is_machinery(file):
            branches = [node for node in ast.walk(source.tree_of(file)) if isinstance(node, ast.If)]
            return "." in name or any(node.lineno < line <= (node.end_lineno or 0) for node in branches)
    return False


def failing_text(error: BaseException) -> str:
    """The innermost statement outside torch that an error went through; not one that answers for an attribute."""
    for frame, line in reversed([*traceback.walk_tb(error.__traceback__)]):
        file, is_answer = frame.f_code.co_filename, frame.f_code.co_name == "__getattr__"
        if not file.startswith(source.TORCH) and not source.is_machinery(file) and not is_answer:
            return "".join(linecache.getline(file, line))
    return ""


@functools.lru_cache(maxsize=1024)
def _raises(file: str, line: int) -> bool:
    """Whether the statement there is a raise or an assert."""
    return any(
        isinstance(node, ast.Raise | ast.Assert) and node.lineno <= line <= (node.end_lineno or 0)
        for node in ast.walk(source.tree_of(file))
    )
