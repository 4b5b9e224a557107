"""Whether forward fails whatever its input: then the fault is the module's, and a rule shall say so."""

from __future__ import annotations

import ast
import bdb
import inspect
import itertools
import re
import sys
import traceback
import types
from collections.abc import Iterable

import torch
from torch import nn

from layersmith.load import failure
from layersmith.load.abstract import unwritten
from layersmith.load.call.repair.messages import directed_pairs, undirected_pairs
from layersmith.load.certain import is_certain
from layersmith.load.project import is_foreign, is_set_elsewhere
from layersmith.load.values import TensorSpec
from layersmith.probe import slips, source, undefined, unset

NOTHING_RETURNED = "forward returned NoneType, no tensor"
_DEEP = 100  # calls of forward within forward
_WITHOUT = re.compile(r"'(\w+)' object has no attribute '(\w+)'")
_OF_LAYER = re.compile(r"must be Tensor, not (\w+)$")  # `nn.ReLU(x)`
_OF_PART = re.compile(r"^'(\w+)' object is not (?:subscriptable|iterable)$")  # `self.softmax[x]`
_OF_DOUBLES = re.compile(
    r"Float but found Double|Double but found Float|same d?type[^\n]*double", re.IGNORECASE
)


def is_unmendable(error: Exception, module: nn.Module) -> bool:
    """Whether the error lies in the code whatever its input: a name, import, attribute or method that is missing."""
    return not _may_be_set_elsewhere(error) and _lies_in_code(error, module)


def _lies_in_code(error: Exception, module: nn.Module) -> bool:
    is_slip = isinstance(error, NameError | ImportError | bdb.BdbQuit | EOFError) or slips.is_slip(error)
    if is_slip or unwritten(error, type(module)):
        return True  # a breakpoint, too, and `input()`, which nobody answers
    if str(error) == NOTHING_RETURNED:
        return _forgets_to_return(type(module))
    if isinstance(error, NotImplementedError):
        return _is_left_to_heirs(error)
    if isinstance(error, RecursionError | TypeError):
        return (
            _calls_itself(error, type(module))
            or is_certain(error)
            or _starts_a_layer(error)
            or _has(module, _OF_PART, error)
        )
    if not isinstance(error, AttributeError):
        return False
    owner = error.obj if isinstance(error.obj, nn.Module) else _said_owner(error, module)
    kind, name = type(owner), _said_name(error)
    is_given = (
        unset.options_behind(kind, name) or is_set_elsewhere(kind, name) or _is_set_by_a_call(kind, name)
    )
    return owner is not None and not is_given


def _may_be_set_elsewhere(error: Exception) -> bool:
    """Whether a name or attribute is missing that a part of the file sets which was not run, or another file may."""
    owner = getattr(error, "obj", None)
    if isinstance(owner, types.ModuleType):
        return not is_foreign(getattr(owner, "__file__", None) or "")
    if isinstance(error, NameError) and slips.may_be_set(error):
        return True
    frame = next((f for f, _ in failure.frames(error) if f.f_globals.get(slips.LEFT_OUT)), None)
    if frame is None or not isinstance(error, NameError | AttributeError):
        return False
    name, file = getattr(error, "name", None) or "", frame.f_code.co_filename
    if isinstance(error, UnboundLocalError):
        return not slips.is_slip(error)
    return isinstance(error, AttributeError) or undefined.binds(file, name)


def _forgets_to_return(cls: type) -> bool:
    """Whether no line of forward returns a value, nor does anything else, such as setting an attribute."""
    forward = source.function_node(source.forward(cls))
    parts = [*ast.walk(forward)] if forward is not None else []
    stores = any(
        isinstance(part, ast.Attribute | ast.Subscript) and isinstance(part.ctx, ast.Store) for part in parts
    )
    names = [
        part.func.attr
        for part in parts
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute)
    ]
    works_in_place = any(
        name.endswith("_") or callable(inspect.getattr_static(cls, name, None))
        for name in names
        if not hasattr(nn.Module, name)  # as `forward` and `eval`
    )
    returned = any(isinstance(part, ast.Return | ast.Yield) and part.value is not None for part in parts)
    last = forward.body[-1] if forward is not None else None
    is_made = isinstance(last, ast.Assign | ast.Return)  # the result, which goes nowhere
    return is_made and not (stores or works_in_place or returned)


def _is_left_to_heirs(error: NotImplementedError) -> bool:
    """Whether forward called what a class of torch leaves to its heirs: `super()._check_input_dim(x)` of a batch norm."""
    files = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    return not str(error) and bool(files) and files[-1].startswith(f"{source.TORCH}/nn/modules/")


def _has(module: nn.Module, said: re.Pattern[str], error: Exception) -> bool:
    """Whether the message names the class of one of torch's layers that is a part of the module."""
    found = said.match(str(error))
    cls: type = type(module)
    if found is None or f"{found[1]}(" not in source.text_of(cls):  # made by a stand-in
        return False
    return any(
        type(part).__name__ == found[1] and source.is_torchs(type(part).__module__)
        for part in module.modules()
    )


def _starts_a_layer(error: Exception) -> bool:
    """Whether a layer is passed on that the function has built instead of called: `nn.ReLU(x)`."""
    found = _OF_LAYER.search(str(error))
    if found is None or not hasattr(nn, found[1]):
        return False
    nodes = (source.code_node(frame.f_code) for frame, _ in failure.frames(error))
    calls = (part.func for node in nodes if node for part in ast.walk(node) if isinstance(part, ast.Call))
    return any(ast.unparse(one) in (f"nn.{found[1]}", found[1]) for one in calls)


def _calls_itself(error: Exception, cls: type) -> bool:
    """Whether forward has called forward, and that again, until Python had enough."""
    code = getattr(source.unwrapped(source.forward(cls)), "__code__", None)
    return sum(frame.f_code is code for frame, _ in traceback.walk_tb(error.__traceback__)) > _DEEP


def _is_set_by_a_call(cls: type, attribute: str) -> bool:
    """Whether a method sets it that the class itself never calls: its loop does, before forward."""
    setting = {
        method.name
        for method in source.methods(cls)
        for part in ast.walk(method)
        if isinstance(part, ast.Attribute) and part.attr == attribute and isinstance(part.ctx, ast.Store)
    }
    called = (name for name in setting - {"forward"} if not name.startswith("_"))
    return any(not source.methods_naming(cls, name) for name in called)


def meets_its_own_doubles(error: Exception, module: nn.Module) -> bool:
    """Whether float32 met float64, and the module holds both: no input is right for it."""
    held = {tensor.dtype for tensor in (*module.parameters(), *module.buffers())}
    return bool(_OF_DOUBLES.search(str(error))) and {torch.float32, torch.float64} <= held


def clashes(error: Exception, inputs: Iterable[TensorSpec], told: set[int]) -> bool:
    """Whether two of the constructor's own widths don't fit, or one is an axis: no input helps, other numbers may.

    Args:
        error: of a call.
        inputs: with which it failed.
        told: numbers that the constructor was told.
    """
    match = re.search(r"size of tensor a \((\d+)\) must match the size of tensor b \((\d+)\)", str(error))
    sizes = {int(number) for number in match.groups()} if match else set()
    free = {spec.shape[index] for spec in inputs for index in spec.free}
    axis = re.search(r"Dimension out of range .* but got (\d+)", str(error))  # `LogSoftmax(dim=channels)`
    is_axis = axis is not None and int(axis[1]) in told
    return is_axis or (bool(sizes) and sizes <= told and not sizes & free)


def essence(error: Exception) -> object:
    """What an error says, but for sizes that have nothing to do with it: the pair that does not match."""
    pairs = {frozenset(pair) for pair in (*directed_pairs(str(error)), *undirected_pairs(str(error)))}
    return pairs or (type(error), str(error))


def progress(error: Exception) -> list[int]:
    """The line of forward that was reached, and that of what is called there of the user's code, and so on."""
    if str(error) == NOTHING_RETURNED:
        return [sys.maxsize]  # its end
    codes = ((frame.f_code, line) for frame, line in reversed(failure.frames(error)))
    own = ((code, line) for code, line in codes if source.TORCH not in code.co_filename)
    return [line for _, line in itertools.dropwhile(lambda one: one[0].co_name != "forward", own)]


def _said_owner(error: AttributeError, module: nn.Module) -> nn.Module | None:
    """The part of the module whose class the message names."""
    name = _WITHOUT.match(str(error))
    return next((part for part in nn.Module.modules(module) if name and type(part).__name__ == name[1]), None)


def _said_name(error: AttributeError) -> str:
    found = _WITHOUT.match(str(error))
    return error.name or (found[2] if found else "")
