"""Values that a constructor accepts, and its code does not tell apart."""

from __future__ import annotations

import enum
from typing import Any, Literal

import torch
from torch import Tensor, nn

from layersmith.finding import Severity
from layersmith.probe import choices
from layersmith.rules.arguments.ignored_argument import arguments_of


class AddsWhatItShouldAverage(nn.Module):
    """The values are those of a constant."""

    REDUCTIONS = ("none", "mean", "sum")

    def __init__(self, reduction: str = "sum") -> None:
        super().__init__()
        assert reduction in self.REDUCTIONS, f"reduction must be one of {self.REDUCTIONS}"
        self.reduction = reduction

    def forward(self, x: Tensor) -> Tensor:
        loss = x.square()
        return loss.sum(-1) if self.reduction != "none" else loss


class Order(enum.Enum):
    """Where a norm may stand."""

    PRE = 1
    POST = 2
    BOTH = 3


class NormsOnlyBehind(nn.Module):
    def __init__(self, width: int = 6, order: Order = Order.PRE) -> None:
        super().__init__()
        self.norm, self.linear, self.order = nn.LayerNorm(width), nn.Linear(width, width), order

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        return self.norm(y) if self.order is Order.POST else y + self.norm(x)


class HasOtherNames(nn.Module):
    """Names that mean one thing, one by its letters, and a list of which all else is refused."""

    def __init__(
        self,
        act: Literal["relu", "silu", "swish"] = "relu",
        pool: str = "average",
        mode: Literal["sum", "product", "median"] = "sum",
    ) -> None:
        """`pool` is "max", or "average", of which "last" is an alias for older files."""
        super().__init__()
        if pool not in ("avg", "average", "max", "last"):
            raise ValueError(f"no pool {pool!r}")
        if mode == "sum":
            self.sign = 1
        else:
            raise ValueError(f"{mode!r} comes with the next release")
        self.act, self.pool = act, pool

    def forward(self, x: Tensor) -> Tensor:
        y = x.relu() if self.act == "relu" else nn.functional.silu(x)
        return self.sign * (y.amax(-1) if self.pool == "max" else y.mean(-1))


class TellsByMatching(nn.Module):
    """Two names are left to the last case, one of them lists what the annotation does."""

    def __init__(self, kind: Literal["l2", "huber", "smooth"] = "l2") -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        match self.kind:
            case "l2":
                return x.square()
            case _:
                return nn.functional.smooth_l1_loss(x, torch.zeros_like(x))


class ScalesByName(nn.Module):
    """Whatever is looked up may count."""

    SCALES = {"half": 0.5, "one": 1.0, "two": 2.0}  # noqa: RUF012

    def __init__(self, scale: str = "one") -> None:
        super().__init__()
        if scale not in self.SCALES:
            raise ValueError(f"no scale {scale!r}")
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return x * self.SCALES[self.scale]


def _found(cls: type) -> list[tuple[Any, ...]]:
    return [one.values for one in choices.alike(cls)]


def test_values_of_a_constant_that_nothing_tells_apart_are_found() -> None:
    assert _found(AddsWhatItShouldAverage) == [("mean", "sum")]


def test_members_of_an_enumeration_that_nothing_tells_apart_are_found() -> None:
    assert _found(NormsOnlyBehind) == [(Order.PRE, Order.BOTH)]


def test_values_that_a_match_leaves_over_are_found() -> None:
    assert _found(TellsByMatching) == [("huber", "smooth")]


def test_other_names_of_one_thing_are_meant() -> None:
    assert _found(HasOtherNames) == []


def test_values_that_are_looked_up_are_told_apart() -> None:
    assert _found(ScalesByName) == []


class KeepsWhatComesIn(nn.Module):
    """For others to ask: it takes any number."""

    def __init__(self, input_planes: int = 6, unread_gain: float = 2.0) -> None:
        super().__init__()
        self.input_planes = input_planes
        self.unread_gain = unread_gain
        self.norm = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.norm(x).sin()], -1)


def test_a_size_of_the_input_that_is_only_kept_is_a_note() -> None:
    assert [one.severity for one in arguments_of(KeepsWhatComesIn)] == [Severity.NOTE, None]
