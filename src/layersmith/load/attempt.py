"""One attempt at the user's code in safety: quiet, within a budget of memory and time, global state kept."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from layersmith.probe.surroundings import preserved

ELEMENTS = 400_000_000  # 1.6 GB of float32: more than a module of any kind needs that one machine trains
_FACTORIES = {torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.full, torch.arange}


class OutOfBudget(Exception):  # noqa: N818 - not an error of the user's
    """The attempt wanted more memory or time than it is given."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """When a search must end, in CPU seconds of this process."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """A deadline so many CPU seconds from now."""
        return cls(time.process_time() + seconds)

    @property
    def is_over(self) -> bool:
        """Whether the time is spent."""
        return time.process_time() > self.at

    def or_after(self, seconds: float) -> Deadline:
        """This one, or one so many CPU seconds from now if that is later."""
        return Deadline(max(self.at, time.process_time() + seconds))

    def part(self, share: float) -> Deadline:
        """An earlier deadline: after this share of the time that is left."""
        now = time.process_time()
        return Deadline(now + share * (self.at - now))


@contextlib.contextmanager
def contained(deadline: Deadline, *, seed: int = 0, is_counted: bool = True) -> Iterator[None]:
    """Run the user's code without a trace: no output, warnings or change of global state, within a budget."""
    silence = io.StringIO()
    logged = logging.root.manager.disable
    with (
        preserved(seed=seed),
        warnings.catch_warnings(),
        contextlib.redirect_stdout(silence),
        contextlib.redirect_stderr(silence),
        _Budget(ELEMENTS, deadline) if is_counted else contextlib.nullcontext(),
    ):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(logged)


class _Budget(TorchFunctionMode):
    """Ends an attempt that creates too many elements, or goes on for too long.

    A mode of functions, not of dispatch: the latter imports torch._dynamo, which takes seconds.
    """

    def __init__(self, elements: int, deadline: Deadline) -> None:
        super().__init__()
        self.elements = elements
        self.left = elements
        self.deadline = deadline

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function in _FACTORIES:
            self.spend(_arranged(args) if function is torch.arange else _wanted(args, kwargs or {}))
        result = function(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.numel() > self.elements:
            raise OutOfBudget(f"a tensor of {result.numel():.1e} elements")
        if self.deadline.is_over:
            raise OutOfBudget("the time for this class is over")
        return result

    def spend(self, elements: int) -> None:
        self.left -= elements
        if self.left < 0:
            raise OutOfBudget(f"more than {self.elements:.0e} elements in all")


def _wanted(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """How many elements a call of a factory asks for."""
    size = kwargs.get("size", args)
    flat = size[0] if len(size) == 1 and isinstance(size[0], list | tuple) else size
    numbers = [part for part in flat if isinstance(part, int)] if isinstance(flat, list | tuple) else []
    return math.prod(numbers)


def _arranged(args: tuple[Any, ...]) -> int:
    """How many numbers `torch.arange` makes of a start, an end and a step."""
    numbers = [float(part) for part in args if isinstance(part, int | float)]
    if not numbers or len(numbers) < len(args):
        return 0
    start, end = (0.0, numbers[0]) if len(numbers) == 1 else numbers[:2]
    step = numbers[2] if len(numbers) > 2 else 1.0  # noqa: PLR2004 - it comes third
    return int(min(abs((end - start) / step), 2.0 * ELEMENTS)) if step else 0
