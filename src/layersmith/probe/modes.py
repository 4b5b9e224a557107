"""Train and eval mode, also for a module whose own `train` or `eval` is something else."""

from __future__ import annotations

import functools
from types import CodeType
from typing import Any

from torch import nn
from torch.nn.modules.dropout import _DropoutNd


def in_mode(module: nn.Module, *, training: bool) -> nn.Module:
    """The module, put into a mode as it does that itself; by force where its `train` or `eval` is no such method."""
    try:
        (module.train if training else module.eval)()
    except Exception:  # noqa: BLE001 - a method of the user's that bears torch's name
        for part in nn.Module.modules(module):
            part.training = training
    return module


def heeds_mode(module: nn.Module) -> bool:
    """Whether a call may differ between train and eval mode.

    It cannot where no class of a submodule mentions `training`, nor has a `train` or `eval` of its own, and nothing
    hangs on it from outside. A dropout of nothing counts as none.
    """
    return any(_heeds(part) for part in nn.Module.modules(module))


def _heeds(part: nn.Module) -> bool:
    if isinstance(part, _DropoutNd) and part.p == 0:
        return False
    cls: Any = type(part)  # mypy takes no class of modules for hashable
    return bool(part._forward_hooks or part._forward_pre_hooks) or _mentions_mode(cls)  # noqa: SLF001


@functools.lru_cache(maxsize=1024)
def _mentions_mode(cls: Any) -> bool:
    own = [base for base in cls.__mro__ if base not in (nn.Module, object)]
    names = {name for base in own for name in vars(base)}
    codes = [code for base in own for value in vars(base).values() for code in _codes(value)]
    return not names.isdisjoint(("train", "eval")) or any(_reads(code) for code in codes)


def _codes(value: Any) -> list[CodeType]:
    """The code of a method, plain or wrapped in a decorator, a property or the like."""
    inner = (getattr(value, name, None) for name in ("__func__", "__wrapped__", "fget", "fset", "func"))
    code = getattr(value, "__code__", None)
    return ([code] if code is not None else []) + [c for one in inner if one is not None for c in _codes(one)]


def _reads(code: CodeType) -> bool:
    inner = [one for one in code.co_consts if isinstance(one, CodeType)]
    return "training" in (*code.co_names, *code.co_consts) or any(map(_reads, inner))
