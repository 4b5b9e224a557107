"""Which lines of the user's code a call runs, and what it would have read in those that it passes over."""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any, Self

import torch
from torch import Tensor, nn

from layersmith.probe import source
from layersmith.probe.inputs import Inputs
from layersmith.probe.surroundings import preserved


class Lines:
    """A context that notes the lines that run, by function, what each is given, and what it holds at its end."""

    def __init__(self) -> None:
        self.run: dict[CodeType, set[int]] = defaultdict(set)
        self.given: dict[CodeType, dict[str, Any]] = {}
        self.held: dict[CodeType, dict[str, Any]] = {}

    def __enter__(self) -> Self:
        self.before = sys.gettrace()
        sys.settrace(self._entered)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self.before)

    def _entered(self, frame: FrameType, _event: str, _value: object) -> Callable[..., Any] | None:
        file = frame.f_code.co_filename
        if file.startswith((source.TORCH, "<")) or source.is_machinery(file):
            return None
        self.given.setdefault(frame.f_code, dict(frame.f_locals))
        return self._inside

    def _inside(self, frame: FrameType, event: str, _value: object) -> Callable[..., Any]:
        if event == "line":
            self.run[frame.f_code].add(frame.f_lineno)
        elif event == "return":
            self.held.setdefault(frame.f_code, dict(frame.f_locals))
        return self._inside


def watched(module: nn.Module, inputs: Inputs) -> Lines:
    """The lines that one call runs."""
    with preserved(seed=0), torch.no_grad(), Lines() as lines:
        module(*inputs.args, **inputs.kwargs)
    return lines


def is_read_elsewhere(module: nn.Module, inputs: Inputs, tensor: Tensor) -> bool:
    """Whether a function that has this tensor, or a list of such, would read it in a branch that this call does not take.

    It, or what is made of it there without a layer.
    """
    lines = watched(module, inputs)
    for code, given in lines.given.items():
        local = [*given.items(), *lines.held.get(code, {}).items()]
        names = {name for name, value in local if value is tensor or _is_list_with(value, tensor)}
        node = source.code_node(code) if names else None
        if node is None:
            continue
        names = _made_of(names, node)
        if any(_reads(one, names) for one in passed_over(node, lines.run[code])):
            return True
    return False


def _is_list_with(value: object, tensor: Tensor) -> bool:
    """Whether it is a list of tensors, and this one of them."""
    are_tensors = isinstance(value, list | tuple) and all(isinstance(one, Tensor) for one in value)
    return are_tensors and any(one is tensor for one in value)  # type: ignore[attr-defined]


def _made_of(names: set[str], function: source.Function) -> set[str]:
    """These names, and those for anything made of them, or for items of it, unless a method of the module makes it."""
    assigned = [
        (value, {part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)})
        for node in ast.walk(function)
        if isinstance(node, ast.Assign | ast.For)
        for value, targets in [
            (node.value, node.targets) if isinstance(node, ast.Assign) else (node.iter, [node.target])
        ]
        if not any(isinstance(part, ast.Name) and part.id == "self" for part in ast.walk(value))
    ]
    known: set[str] = set()
    found = {*names}
    while known != found:
        known = {*found}
        for value, targets in assigned:
            found |= targets if _reads(value, known) else set()
    return found


def is_part_read_elsewhere(module: nn.Module, inputs: Inputs, tensor: Tensor, part: Tensor) -> bool:
    """Whether a function that took this part out of the tensor would read it in a branch not taken.

    Args:
        module: in the mode in which it is called.
        inputs: a call of it.
        tensor: one of its inputs.
        part: which of its numbers are meant: flags of the same shape.
    """
    lines = watched(module, inputs)
    for code, held in lines.held.items():
        names = {name for name, value in held.items() if _is_within(value, tensor, part)}
        node = source.code_node(code) if names else None
        if node is not None and any(_reads(one, names) for one in passed_over(node, lines.run[code])):
            return True
    return False


def _is_within(value: object, whole: Tensor, part: Tensor) -> bool:
    """Whether it is a view of such numbers only."""
    if not isinstance(value, Tensor) or value.layout is not torch.strided or not value.numel():
        return False
    if value.untyped_storage().data_ptr() != whole.untyped_storage().data_ptr() or value is whole:
        return False
    flags = torch.zeros(whole.untyped_storage().nbytes() // whole.element_size(), dtype=torch.bool)
    flags.as_strided(whole.shape, whole.stride(), whole.storage_offset()).copy_(part)
    return bool(flags.as_strided(value.shape, value.stride(), value.storage_offset()).all())


def passed_over(function: source.Function, run: set[int]) -> Iterator[ast.stmt]:
    """The plain statements of a function of which no line was run."""
    for node in ast.walk(function):
        is_plain = isinstance(node, ast.stmt) and not hasattr(node, "body")
        if (
            is_plain
            and isinstance(node, ast.stmt)
            and not run & {*range(node.lineno, (node.end_lineno or 0) + 1)}
        ):
            yield node


def _reads(node: ast.AST, names: set[str]) -> bool:
    return any(
        isinstance(part, ast.Name) and part.id in names and isinstance(part.ctx, ast.Load)
        for part in ast.walk(node)
    )
