"""Which whole numbers of half precision are positions that rounding harms."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from layersmith import runner
from layersmith.finding import Outcome, Result
from layersmith.load.build import subject_of_factory
from layersmith.registry import load


def ask(cls: type[nn.Module], *shape: int) -> Result:
    return runner.ask(subject_of_factory(cls, torch.randn(*shape)), load("rounded-positions"))


class _Rotates(nn.Module):
    inv_freq: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("inv_freq", 1e4 ** (-torch.arange(0, 8, 2) / 8))
        self.linear = nn.Linear(8, 8)

    def rotated(self, x: Tensor, angles: Tensor) -> Tensor:
        both = (angles.cos(), angles.sin())
        cos, sin = (torch.cat((part, part), -1).to(x.dtype)[: x.shape[1]] for part in both)
        left, right = self.linear(x).chunk(2, -1)
        return torch.cat((left, right), -1) * cos + torch.cat((-right, left), -1) * sin


class RotatesAsItsFrequencies(_Rotates):
    def forward(self, x: Tensor) -> Tensor:
        t = torch.arange(x.shape[1], device=x.device).type_as(self.inv_freq)
        return self.rotated(x, torch.einsum("i,j->ij", t, self.inv_freq))


class RotatesAfterAnOffset(_Rotates):
    def forward(self, x: Tensor) -> Tensor:
        t = (torch.arange(x.shape[1], device=x.device) + 3).to(x.dtype)
        return self.rotated(x, t[:, None] * self.inv_freq)


class TableOfAThousand(_Rotates):
    """Of a fixed length, beyond what bfloat16 counts to."""

    def forward(self, x: Tensor) -> Tensor:
        t = torch.arange(1000, device=x.device, dtype=x.dtype)
        return self.rotated(x, torch.outer(t, self.inv_freq))


@pytest.mark.parametrize("cls", [RotatesAsItsFrequencies, RotatesAfterAnOffset, TableOfAThousand])
def test_positions_in_half_precision_are_reported(cls: type[nn.Module]) -> None:
    assert ask(cls, 2, 7, 8).outcome is Outcome.FAIL


class RotatesInFloat32(_Rotates):
    def forward(self, x: Tensor) -> Tensor:
        t = torch.arange(x.shape[1], device=x.device).float()
        return self.rotated(x, torch.outer(t, self.inv_freq.float()))


class TableOfSixtyFour(_Rotates):
    def forward(self, x: Tensor) -> Tensor:
        t = torch.arange(64, device=x.device, dtype=x.dtype)
        return self.rotated(x, torch.outer(t, self.inv_freq))


class HidesByPlaces(_Rotates):
    def forward(self, x: Tensor) -> Tensor:
        t = torch.arange(x.shape[1], device=x.device, dtype=x.dtype)
        return self.linear(x).masked_fill((t[:, None] - t > 2).any(-1)[:, None], 0)


class WeighsByWholeDistances(_Rotates):
    def forward(self, x: Tensor) -> Tensor:
        t = torch.arange(x.shape[1], device=x.device)
        far = (t[:, None] - t).abs().to(x.dtype)
        return (self.linear(x) @ x.mT - self.inv_freq[0] * far).softmax(-1) @ x


class WeighsLaterMore(_Rotates):
    def forward(self, x: Tensor) -> Tensor:
        t = torch.arange(1, x.shape[1] + 1, device=x.device, dtype=x.dtype)
        return (self.linear(x) * t[:, None]).sum(1) / t.sum()


class TableInFloat32(_Rotates):
    def forward(self, x: Tensor) -> Tensor:
        t = torch.arange(x.shape[1], device=x.device).float()
        table = torch.outer(t, torch.arange(1, 5, device=x.device) / 4).sin()
        return self.linear(x) + table.repeat(1, 2).to(x.dtype)


class RatesByWidth(nn.Module):
    """The width is free, too, but what is made of it is normalised."""

    def forward(self, x: Tensor) -> Tensor:
        width = x.shape[-1]
        rates = torch.exp(torch.arange(width, dtype=x.dtype, device=x.device) * (-9.21 / width))
        steps = torch.arange(x.shape[1], dtype=torch.float32, device=x.device)
        return x + (steps[:, None] * rates.float()).sin().to(x.dtype)


@pytest.mark.parametrize(
    "cls",
    [
        RotatesInFloat32,
        TableOfSixtyFour,
        HidesByPlaces,
        WeighsByWholeDistances,
        WeighsLaterMore,
        TableInFloat32,
        RatesByWidth,
    ],
)
def test_what_rounding_does_not_harm_passes(cls: type[nn.Module]) -> None:
    result = ask(cls, 2, 7, 8)
    assert result.outcome is Outcome.PASS, (result.why, result.findings)


class CellsOfAnImage(nn.Module):
    """As a detection head: its maps have tens of rows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        columns = torch.arange(x.shape[-1], device=x.device, dtype=x.dtype)
        return (self.conv(x).sigmoid() + columns) * 8


def test_cells_of_an_image_are_few() -> None:
    assert ask(CellsOfAnImage, 2, 3, 8, 11).outcome is Outcome.PASS
