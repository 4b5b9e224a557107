"""Options that a constructor hands on: to submodules, to functions with tables, to its own methods."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from layersmith.finding import Finding
from tests.trying import findings

SCALES = ("none", "one", "each")
NORMS = {"layer": nn.LayerNorm, "batch": nn.BatchNorm1d, "group": nn.GroupNorm}
SOUND = {"layer": nn.LayerNorm, "none": nn.Identity}
REGISTER: dict[str, type[nn.Module]] = {}
REGISTER["identity"] = nn.Identity
REGISTER["pairs"] = nn.GLU  # of another layer, which doubles the width


def norm_of(kind: str, width: int) -> nn.Module:
    return NORMS[kind.lower()](width)


class Scale(nn.Module):
    def __init__(self, width: int, how: str) -> None:
        super().__init__()
        assert how in SCALES
        self.how = how
        if how == "one":
            self.gain = nn.Parameter(torch.ones(1))
        elif how == "each":
            self.gains = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x if self.how == "none" else x * self.gain


class Inner(nn.Module):
    def __init__(self, width: int, scaled: str) -> None:
        super().__init__()
        self.scale = Scale(width, how=scaled)

    def forward(self, x: Tensor) -> Tensor:
        return self.scale(x)


class ScalesFarBelow(nn.Module):
    """Two classes below, by a name that each has for itself."""

    def __init__(self, width: int = 6, scale: str = "one") -> None:
        super().__init__()
        self.layers = nn.ModuleList(Inner(width, scale) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class NormsByTable(nn.Module):
    """A function looks it up, of which one entry wants another argument."""

    def __init__(self, width: int = 6, norm: str = "layer") -> None:
        super().__init__()
        self.norm = norm_of(norm, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x)


class Joins(nn.Module):
    def __init__(self, how: Literal["add", "cat"] = "add") -> None:
        super().__init__()
        self.join = self._made(how)

    def _made(self, name: str) -> int:
        return {"add": 1, "cat": 2}[name]

    def forward(self, x: Tensor) -> Tensor:
        return x + x if self.join == 1 else torch.cat([x, x], -1)


class ForgetsThatItIsWider(nn.Module):
    """Only the part says what may be chosen."""

    def __init__(self, width: int = 6, merge: str = "add") -> None:
        super().__init__()
        self.join = Joins(how=merge)  # type: ignore[arg-type]
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.linear(self.join(x))


class PicksFromARegister(nn.Module):
    """Whoever adds to a register does not ask who looks things up in it."""

    def __init__(self, width: int = 7, act: str = "identity") -> None:
        super().__init__()
        self.linear, self.act = nn.Linear(width, width), REGISTER[act]()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.linear(x))


class NormsByASoundTable(nn.Module):
    def __init__(self, width: int = 6, norm: str = "layer") -> None:
        super().__init__()
        if norm not in SOUND:
            raise ValueError(f"norm must be one of {[*SOUND]}, not {norm!r}")
        self.norm = SOUND[norm](width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x)


def made(kind: str, *args: int) -> nn.Module:
    return nn.GLU() if kind == "glu" else getattr(nn, kind)(*args)


class MakesBothByName(nn.Module):
    """What the function can make is not what each argument may be: GLU is no norm, and no activation here."""

    def __init__(self, width: int = 6, norm: str = "LayerNorm", act: str = "ReLU") -> None:
        super().__init__()
        self.norm, self.linear, self.act = made(norm, width), nn.Linear(width, width), made(act)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.act(self.linear(self.norm(x)))


def _findings(cls: type[nn.Module]) -> tuple[Finding, ...]:
    return findings(cls, torch.randn(4, 7 if cls is PicksFromARegister else 6))


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (ScalesFarBelow, "ScalesFarBelow(scale='each') (compared in the source): forward raised"),
        (NormsByTable, "NormsByTable(norm='group') (compared in the source): the constructor raised"),
        (ForgetsThatItIsWider, "ForgetsThatItIsWider(merge='cat') (compared in the source): forward raised"),
    ],
)
def test_an_option_of_what_it_is_handed_to_is_tried(cls: type[nn.Module], said: str) -> None:
    (found,) = _findings(cls)
    assert said in found.message


@pytest.mark.parametrize("cls", [PicksFromARegister, NormsByASoundTable, MakesBothByName])
def test_a_sound_table_and_a_register_are_not_blamed(cls: type[nn.Module]) -> None:
    assert _findings(cls) == ()
