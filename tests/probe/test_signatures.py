"""Calls that are read from the source, and whether they fit."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from layersmith.probe import fitting


def scaled(x: Tensor, by: float, *, twice: bool = False) -> Tensor:
    """As it says."""
    return x * by * (2 if twice else 1)


class Calls(nn.Module):
    def right(self, x: Tensor, *rest: Any) -> Tensor:
        """Calls that fit, or of which it is not written what they are given."""
        scaled(*rest)
        return scaled(x, 2.0, twice=True)

    def wrong(self, x: Tensor) -> Tensor:
        """One argument is missing."""
        return scaled(x)  # type: ignore[call-arg]

    def unknown(self, x: Tensor, scaled: Any) -> Tensor:
        """An argument of the function's name."""
        result: Tensor = scaled(x)
        return result

    def forward(self, x: Tensor) -> Tensor:
        return self.right(x) + self.wrong(x, x)  # type: ignore[call-arg]


class Overrides(Calls):
    def wrong(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Takes both."""
        return x


def misfits(cls: type) -> list[str]:
    return [called.name for called in fitting.calls(cls) if fitting.misfit(called)]


def test_a_call_without_what_is_asked_for_does_not_fit() -> None:
    assert misfits(Calls) == ["scaled", "self.wrong"]


def test_a_method_that_an_heir_overrides_is_not_known() -> None:
    assert misfits(Overrides) == ["scaled"]
