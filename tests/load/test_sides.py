"""Images get the sides that a module can take: halved and doubled again, one larger than another, or of a rectangle."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from layersmith.load.build import subject_of_class


class Narrows(nn.Module):
    """Halves twice, and joins what comes up again with what was there, as it is."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.up = nn.ModuleList(nn.Conv2d(2 * width, width, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        kept = []
        for layer in self.down:
            kept.append(x)
            x = layer(nn.functional.max_pool2d(x, 2)).relu()
        for layer in self.up:
            x = nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = layer(torch.cat([kept.pop(), x], 1)).relu()
        return x


class Joins(nn.Module):
    """Of two images one is enlarged before they meet."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(in_channels, skip_channels, 1)
        self.conv = nn.Conv2d(2 * skip_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = nn.functional.interpolate(x, scale_factor=2.0, mode="bilinear")
        return self.conv(torch.cat([skip, self.reduce(x)], 1))


class OfLines(nn.Module):
    """A table of positions of 3 rows and 5 columns."""

    def __init__(self, dim: int = 32) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, dim, 1)
        self.positions = nn.Parameter(torch.zeros(3 * 5, dim))

    def forward(self, x: Tensor) -> Tensor:
        return self.embed(x).flatten(2).transpose(1, 2) + self.positions


@pytest.mark.parametrize(
    ("cls", "call"),
    [
        (Narrows, "(f32[5,3,12,16])"),
        (Joins, "(f32[5,96,11,13], f32[5,32,22,26])"),
        (OfLines, "(f32[5,3,3,5])"),
    ],
)
def test_sides_that_fit_are_found(cls: type[nn.Module], call: str) -> None:
    assert call in subject_of_class(cls).inferred_from


class OfOneShape(nn.Module):
    """Positions for each patch of images that are no squares."""

    def __init__(self, image_size: tuple[int, int] = (64, 32), dim: int = 32) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, dim, 8, stride=8)
        self.positions = nn.Parameter(torch.zeros(1, dim, image_size[0] // 8, image_size[1] // 8))

    def forward(self, img: Tensor) -> Tensor:
        moved: Tensor = self.patches(img) + self.positions
        return moved


def test_sides_that_are_told_one_by_one_are_those_of_the_image() -> None:
    assert "(f32[5,3,64,32])" in subject_of_class(OfOneShape).inferred_from


class Nested(nn.Module):
    """Comes back up to each of its maps at every depth: odd sides are met at once."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.MaxPool2d(2)
        self.up = nn.Upsample(scale_factor=2)
        self.mix = nn.Conv2d(6, 3, 1)

    def forward(self, image: Tensor) -> Tensor:
        half = self.down(image)
        once = self.mix(torch.cat([image, self.up(half)], 1))
        quarter = self.down(half)
        twice = self.mix(torch.cat([half, self.up(quarter)], 1))
        eighth = self.mix(torch.cat([quarter, self.up(self.down(quarter))], 1))
        return once + self.up(twice) + self.up(self.up(eighth))


def test_sides_that_are_odd_are_made_ones_that_can_be_halved() -> None:
    assert "(f32[5,3,16,24])" in subject_of_class(Nested).inferred_from


class AttendsToPositions(nn.Module):
    """Written for images of 32 x 32, whose map it lays out as positions."""

    def __init__(self, device: str = "cuda:0") -> None:
        super().__init__()
        self.device = device
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.MaxPool2d(2))
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).view(-1, 16, 16 * 16).swapaxes(1, 2)
        x = x + torch.arange(256, device=self.device)[:, None] / 256
        return self.attention(x, x, x)[0].swapaxes(1, 2).view(-1, 16, 16, 16)


def test_a_view_of_positions_says_the_sides() -> None:
    subject = subject_of_class(AttendsToPositions)
    assert subject.inputs(0).args[0].shape[1:] == (3, 32, 32)
    if not torch.cuda.is_available():
        assert "device='cpu'" in subject.inferred_from
