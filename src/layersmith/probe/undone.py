"""Axes that one reshape splits and the next puts together again: nothing has moved."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from layersmith.probe import source
from layersmith.probe.inputs import Inputs
from layersmith.probe.scrambles import RESHAPES
from layersmith.probe.steps import SILENT, caller
from layersmith.probe.surroundings import preserved

SPLITS = RESHAPES | {"unflatten"}
JOINS = RESHAPES | {"flatten"}
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Undone:
    """A split that the operation at this place undoes."""

    whole: Shape
    split: Shape
    file: str
    line: int


def undone(module: nn.Module, inputs: Inputs) -> list[Undone]:
    """Every such pair of one call that stands in one expression, or in two statements that follow each other."""
    watch = _Watch()
    with preserved(seed=0), watch:
        inputs.clone().call(module)
    return watch.found


class _Watch(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Undone] = []
        self.last: tuple[Tensor, Shape, tuple[str, int]] | None = None  # what was split, as a whole, where

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Do the operation; compare a reshape with the operation before it."""
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name in SILENT:
            return result
        first, last, self.last = (args[0] if args else None), self.last, None
        if not (isinstance(result, Tensor) and isinstance(first, Tensor)):
            return result
        before, after = tuple(first.shape), tuple(result.shape)
        if last is not None and first is last[0] and name in JOINS and after == last[1]:
            self._note(last, caller())
        elif name in SPLITS and len(after) > len(before) and min(after, default=1) > 1:
            self.last = result, before, caller()
        return result

    def _note(self, last: tuple[Tensor, Shape, tuple[str, int]], place: tuple[str, int]) -> None:
        split, whole, (file, line) = last
        if file == place[0] and _follows(file, line, place[1]):
            self.found.append(Undone(whole, tuple(split.shape), *place))


def _follows(file: str, first: int, second: int) -> bool:
    """Whether a line's statement is that of the other or the next, and calls its reshape on what that one gave."""
    for node in ast.walk(source.tree_of(file)):
        for body in (getattr(node, "body", None), getattr(node, "orelse", None)):
            statements = body if isinstance(body, list) else []
            places = [_place(statements, line) for line in (first, second)]
            if None not in places:
                one, other = statements[places[0] or 0], statements[places[1] or 0]
                if one is other:
                    return _has_chain(one)
                if (places[1] or 0) - (places[0] or 0) == 1 and not isinstance(
                    one, ast.If | ast.For | ast.With
                ):
                    return True
    return False


def _place(statements: list[ast.stmt], line: int) -> int | None:
    """Which of some statements a line is within; None for none, or for one that has statements of its own."""
    found = [i for i, one in enumerate(statements) if one.lineno <= line <= (one.end_lineno or one.lineno)]
    return found[0] if found and not hasattr(statements[found[0]], "body") else None


def _has_chain(statement: ast.stmt) -> bool:
    """Whether what a statement calls on the result of a call is a reshape of a reshape: `x.view(...).view(...)`."""
    calls = [node for node in ast.walk(statement) if isinstance(node, ast.Call)]
    methods = [node.func for node in calls if isinstance(node.func, ast.Attribute)]
    on_results = [(one.value.func, one.attr) for one in methods if isinstance(one.value, ast.Call)]
    joins = [of for of, name in on_results if name in JOINS]
    return bool(joins) and all(isinstance(of, ast.Attribute) and of.attr in SPLITS for of in joins)
