"""Every torch operation of a call, with its line in the user's code: to find the one where something starts."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from layersmith.probe import batch, closeness, source, tree
from layersmith.probe.inputs import Inputs
from layersmith.probe.surroundings import preserved

TORCH = str(Path(torch.__file__).parent)
HERE = str(Path(__file__).parent)
CALL = str(Path(__file__).with_name("inputs.py"))  # below this frame lies what calls the module
INSTALLED = re.compile(r"[\\/](?:site|dist)-packages[\\/]")
SILENT = frozenset(
    {"__get__", "__set__", "size", "dim", "numel", "is_floating_point", "stride", "get_device"}
)


@dataclass(frozen=True, slots=True)
class Step:
    """One operation, and what was noted of its result."""

    operation: str
    file: str
    line: int
    noted: Any = None


class Steps(TorchFunctionMode):
    """A context that records every operation performed inside, in `seen`.

    Args:
        note: is called with each operation's result directly after it; what it returns is kept in the step.
    """

    def __init__(self, note: Callable[[Any], Any] = lambda _: None) -> None:
        super().__init__()
        self.seen: list[Step] = []
        self.note = note

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Do the operation and note its result."""
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name not in SILENT:
            self.seen.append(
                Step(name.strip("_") if name.startswith("__") else name, *caller(), self.note(result))
            )
        return result


def watched(module: nn.Module, inputs: Inputs, note: Callable[[Any], Any]) -> list[Step]:
    """The steps of one call, always under the same seed."""
    steps = Steps(note)
    with preserved(seed=0), steps:
        inputs.call(module)
    return steps.seen


def leaves_nothing(module: nn.Module, inputs: Inputs) -> bool:
    """Whether an operation's result has no numbers, as of all steps but more than there are."""
    seen = watched(module, inputs, lambda result: any(not one.numel() for one in tree.tensors(result)))
    return any(step.noted for step in seen)


def first_apart(before: list[Step], after: list[Step]) -> Step | None:
    """The first step of two calls all of whose noted tensors differ; None if there is none."""
    for one, other in zip(before, after, strict=False):
        pairs = [*zip(one.noted, other.noted, strict=False)]
        if one.line and pairs and all(closeness.gap(left, right).is_open for left, right in pairs):
            return one
    return None


def caller() -> tuple[str, int]:
    """The innermost frame of the module's call that is neither torch's nor a probe's; "" and 0 if there is none.

    What is installed, such as einops, passes on what the user's own line asks for, if one does.
    """
    frame = sys._getframe(2)  # noqa: SLF001 - a traceback per operation would be slow
    installed = "", 0
    while frame.f_back is not None:
        file = frame.f_code.co_filename
        if file == CALL:
            break
        if not file.startswith((TORCH, HERE, "<")):
            if not INSTALLED.search(file):
                return file, frame.f_lineno
            installed = installed if installed[1] else (file, frame.f_lineno)
        frame = frame.f_back
    return installed


def where_rows_meet(build: Callable[[], nn.Module], inputs: Inputs, *, axis: int, seed: int) -> Step | None:
    """The first operation of which a row moves with the others, whichever axis of its result is the batch."""
    size = batch.batch_size(inputs, axis)
    for keep in (0, size - 1):
        others = batch.replace_other_rows(inputs, keep, axis=axis, seed=seed)
        note = partial(batch.rows_anywhere, index=keep, size=size)
        if (step := first_apart(*(watched(build(), one, note) for one in (inputs, others)))) is not None:
            return None if source.is_machinery(step.file) else step
    return None
