"""Options whose fault shows with other images, or beside another value of theirs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.trying import findings

IMAGES = torch.randn(2, 4, 11, 13)


class PadsMoreThanItsKernel(nn.Module):
    """With a kernel of 5 the plane grows by two; with 11 x 13 the columns still divide it."""

    def __init__(self, width: int = 4, proj_kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=proj_kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        flat = self.conv(x).flatten(2)
        return flat.reshape(*flat.shape[:2], -1, x.shape[-1])


class PadsAsItsKernel(nn.Module):
    def __init__(self, width: int = 4, proj_kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, proj_kernel, padding=proj_kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        flat = self.conv(x).flatten(2)
        return flat.reshape(*flat.shape[:2], -1, x.shape[-1])


class RefusesOtherSides(PadsMoreThanItsKernel):
    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        assert y.shape[-1] in (x.shape[-1], 15), "columns that do not fit"
        return y


def test_another_kernel_ties_no_sides() -> None:
    (found,) = findings(PadsMoreThanItsKernel, IMAGES)
    assert "PadsMoreThanItsKernel(proj_kernel=5) (a kernel): forward raised RuntimeError" in found.message
    assert not findings(PadsAsItsKernel, IMAGES)
    assert not findings(RefusesOtherSides, IMAGES)


class ForgetsTwoNorms(nn.Module):
    """One line fails for two values."""

    def __init__(self, width: int = 6, norm: str | None = "layer") -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        if norm == "layer":
            self.norm = nn.LayerNorm(width)
        elif norm not in ("batch", None):
            raise ValueError("norm must be layer, batch or None")

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.linear(x))
        return y


def test_all_values_that_a_line_fails_for_are_told_in_one_finding() -> None:
    (found,) = findings(ForgetsTwoNorms, torch.randn(4, 6))
    assert "ForgetsTwoNorms(norm='batch') (compared in the source)" in found.message
    assert found.message.endswith("; so does ForgetsTwoNorms(norm=None)")


class NamesARecurrentLayer(nn.Module):
    """Takes "GRU" and, so it says, "gru"."""

    def __init__(self, width: int = 6, kind: str = "GRU") -> None:
        super().__init__()
        assert kind.upper() in ("GRU", "LSTM")
        self.kind = kind.upper()
        self.rnn = getattr(nn, kind)(width, width, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.rnn(x)[0]
        return y


class NamesItInAnyCase(NamesARecurrentLayer):
    def __init__(self, width: int = 6, kind: str = "GRU") -> None:
        assert kind.upper() in ("GRU", "LSTM")
        super().__init__(width, kind.upper())


def test_what_is_compared_in_any_case_is_tried_in_the_other() -> None:
    (found,) = findings(NamesARecurrentLayer, torch.randn(2, 5, 6))
    assert (
        "NamesARecurrentLayer(kind='gru') (compared in the source): the constructor raised" in found.message
    )
    assert not findings(NamesItInAnyCase, torch.randn(2, 5, 6))


class CallsOneTooMany(nn.Module):
    """Right for an even number of layers."""

    def __init__(self, width: int = 6, num_convs: int = 2) -> None:
        super().__init__()
        self.num_convs = num_convs
        self.convs = nn.ModuleList(nn.Linear(width, width) for _ in range(num_convs // 2 * 2))

    def forward(self, x: Tensor) -> Tensor:
        for i in range(self.num_convs):
            x = self.convs[i](x)
        return x


def test_another_number_of_parts_is_tried() -> None:
    (found,) = findings(CallsOneTooMany, torch.randn(4, 6))
    assert "CallsOneTooMany(num_convs=1) (a count): forward raised IndexError" in found.message


class ForgetsItsOwnWidth(nn.Module):
    def __init__(self, width: int = 6, out_dim: int | None = None) -> None:
        super().__init__()
        out = out_dim if out_dim is not None else width
        self.linear = nn.Linear(width, out)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.linear(x))
        return y


class HasItsOwnWidth(nn.Module):
    """The width of the context is that of another input, and says nothing here."""

    def __init__(self, width: int = 6, out_dim: int | None = None, context_dim: int | None = None) -> None:
        super().__init__()
        context_dim = context_dim or width
        out = out_dim or width
        self.linear, self.norm = nn.Linear(width, out), nn.LayerNorm(out)
        self.mix = nn.Linear(context_dim, out)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.linear(x) + self.mix(x))
        return y


def test_a_width_that_is_copied_unless_given_is_given() -> None:
    (found,) = findings(ForgetsItsOwnWidth, torch.randn(4, 6))
    assert "ForgetsItsOwnWidth(out_dim=12) (a width of its own): forward raised RuntimeError" in found.message
    assert not findings(HasItsOwnWidth, torch.randn(4, 6))
