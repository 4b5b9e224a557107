"""Which dropouts and batch norms a call switches off by `training=False`, and which results it throws away."""

from __future__ import annotations

import ast
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from layersmith.probe import source
from layersmith.probe.randomness import DROPOUT
from layersmith.probe.steps import caller

TRAINING = {"dropout": 2, "batch_norm": 5}  # the place of the argument `training`
FIXES = {"dropout": "training=self.training", "batch_norm": "training=self.training"}


@dataclass(frozen=True, slots=True)
class Switch:
    """One call with `training=False`."""

    operation: str
    file: str
    line: int

    @property
    def fix(self) -> str:
        """What to type."""
        return FIXES["batch_norm" if self.operation == "batch_norm" else "dropout"]


class Switches(TorchFunctionMode):
    """A context that records, in `off`, the calls that a module in train mode makes as if in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.off: list[Switch] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Record the call if it is switched off, then do it."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        is_off = (name in DROPOUT and _drops_never(args, kwargs)) or (
            name == "batch_norm" and _learns_never(args, kwargs)
        )
        one = Switch(name, *caller()) if is_off else None
        if one is not None and one not in self.off:
            self.off.append(one)
        return func(*args, **kwargs)


def _drops_never(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    p = args[1] if len(args) > 1 else kwargs.get("p", 0.5)
    training = args[2] if len(args) > 2 else kwargs.get("training", True)  # noqa: PLR2004 - third argument
    return not training and 0 < p < 1


def _learns_never(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether statistics that are still those of the start are used, with weights that are to be learnt."""
    names = ("input", "running_mean", "running_var", "weight", "bias", "training")
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    mean, var, weight = (given.get(name) for name in names[1:4])
    if given.get("training", False) or not (isinstance(mean, Tensor) and isinstance(var, Tensor)):
        return False
    is_new = bool((mean == 0).all()) and bool((var == 1).all())
    return is_new and isinstance(weight, Tensor) and weight.requires_grad


@functools.lru_cache(maxsize=512)
def is_thrown_away(file: str, line: int) -> bool:
    """Whether that line is a statement that calls a dropout, not in place, and keeps nothing of it."""
    for node in ast.walk(source.tree_of(file)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and node.lineno == line:
            text = ast.unparse(node.value)
            called = ast.unparse(node.value.func)
            return "drop" in called.lower() and not called.endswith("_") and "inplace" not in text
    return False
