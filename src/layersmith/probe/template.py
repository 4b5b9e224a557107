"""A module of which equal ones are made, many times over: copies that cost a fraction of `copy.deepcopy`."""

from __future__ import annotations

import copy
import io
import pickle
import types
from typing import Any

from torch import Tensor, nn

_HOOKS = ("_forward_pre_hooks", "_forward_hooks")


class Template:
    """Keeps a module and hands out deep copies of it.

    Its structure is pickled once and its tensors are kept beside it, to be cloned for each copy: what tensors or objects
    share stays shared. A module that cannot be pickled so, or of which a part says how it is deep-copied, is deep-copied.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._tensors: dict[int, Tensor] = {}
        self._structure = self._pickled()

    def copy(self) -> nn.Module:
        """Another equal module.

        Raises:
            Exception: whatever `copy.deepcopy` raises, of a module that cannot be copied.
        """
        return copied(self._module) if self._structure is None else self._assembled(self._structure)

    def _pickled(self) -> bytes | None:
        file = io.BytesIO()
        try:
            _Outline(file, self._tensors).dump(self._module)
            self._assembled(file.getvalue())
        except Exception:  # noqa: BLE001 - a class may refuse to be pickled in any way
            return None
        return file.getvalue()

    def _assembled(self, structure: bytes) -> nn.Module:
        module: nn.Module = _Assembly(io.BytesIO(structure), self._tensors).load()
        return module


def copied(module: nn.Module) -> nn.Module:
    """A deep copy whose own functions, and hooks, work with its own parts, and whose parameters keep what hangs on them.

    `copy.deepcopy` takes functions as they are: `self.f = lambda x: layer(x)` of a copy runs the first one's layer.

    Raises:
        Exception: whatever `copy.deepcopy` raises.
    """
    memo: dict[int, Any] = {}
    other = copy.deepcopy(module, memo)
    for part in nn.Module.modules(other):
        for held in (vars(part), *(vars(part).get(name) or {} for name in _HOOKS)):
            for name, value in [*held.items()]:
                if isinstance(value, types.FunctionType) and value.__closure__:
                    held[name] = _rebound(value, value.__closure__, memo)
    for parameter in nn.Module.parameters(module):
        if id(parameter) in memo:
            _keep_attributes(parameter, memo[id(parameter)], memo)
    return other


def _keep_attributes(parameter: Tensor, other: Tensor, memo: dict[int, Any]) -> None:
    """What hangs on a parameter hangs on its copy: `self.weight.fast = None`, which torch leaves behind."""
    for name in vars(parameter).keys() - vars(other).keys():
        setattr(other, name, copy.deepcopy(vars(parameter)[name], memo))


def _rebound(function: types.FunctionType, closure: tuple[types.CellType, ...], memo: dict[int, Any]) -> Any:
    """The function with the copies of what it holds in the place of the originals."""
    try:
        held = [cell.cell_contents for cell in closure]
    except ValueError:  # a cell that is still empty
        return function
    if not any(id(one) in memo for one in held):
        return function
    cells = tuple(types.CellType(memo.get(id(one), one)) for one in held)
    code, defaults = function.__code__, function.__defaults__
    other = types.FunctionType(code, function.__globals__, function.__name__, defaults, cells)
    other.__kwdefaults__ = function.__kwdefaults__
    return other


class _Outline(pickle.Pickler):
    """Pickles all but tensors, of which it notes the numbers; refuses what has a way of its own to be deep-copied."""

    def __init__(self, file: io.BytesIO, tensors: dict[int, Tensor]) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._tensors = tensors

    def persistent_id(self, obj: Any) -> int | None:
        """The number of a tensor."""
        if not isinstance(obj, Tensor):
            return None
        self._tensors[id(obj)] = obj
        return id(obj)

    def reducer_override(self, obj: Any) -> Any:
        """Nothing else than usual."""
        if hasattr(type(obj), "__deepcopy__"):
            raise pickle.PicklingError(f"{type(obj).__name__} has a deep copy of its own")
        return NotImplemented


class _Assembly(pickle.Unpickler):
    """Puts copies of the tensors in their places."""

    def __init__(self, file: io.BytesIO, tensors: dict[int, Tensor]) -> None:
        super().__init__(file)
        self._tensors = tensors
        self._memo: dict[int, Any] = {}

    def persistent_load(self, pid: Any) -> Tensor:
        """A copy of the tensor of that number, the same each time."""
        tensor = self._tensors[pid]
        is_first = id(tensor) not in self._memo
        other: Tensor = copy.deepcopy(tensor, self._memo)
        if is_first:
            _keep_attributes(tensor, other, self._memo)
        return other
