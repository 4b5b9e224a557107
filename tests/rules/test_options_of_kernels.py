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
