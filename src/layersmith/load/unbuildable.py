"""What is said of a class for which no way to build or to call it was found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from layersmith.errors import LayersmithError


class Unbuildable(LayersmithError):  # noqa: N818 - a fact about a class, reported as "skipped", not a failure
    """No way was found to build or call a class.

    Args:
        why: the reason in one line.
        hint: the smallest thing that would help, ready to paste; "" where nothing would.
    """

    def __init__(self, why: str, hint: str = "") -> None:
        super().__init__(f"{why}\n{hint}" if hint else why)
        self.why = why
        self.hint = hint


class Unbuilt(nn.Module):
    """Stands for a module whose constructor fails whatever it is given: forward raises what that raises."""

    def __init__(self, make: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.make = make

    def forward(self) -> Any:
        """Raise the constructor's error."""
        return self.make()()
