"""Maps of several scales, conditions of asserts without a word, and widths in settings that must fit what meets them."""
# ruff: noqa: ANN001, ANN201, ANN204
# mypy: ignore-errors

from __future__ import annotations

import pytest
import torch
from torch import nn

from layersmith.load.build import subject_of_class


class Fused(nn.Module):
    """Takes a pyramid apart, and enlarges what is small."""

    def __init__(self, num_channels, epsilon=1e-4):
        super().__init__()
        self.up = nn.Upsample(scale_factor=2)
        self.mix = nn.Conv2d(num_channels, num_channels, 3, padding=1)
        self.epsilon = epsilon

    def forward(self, inputs):
        p3_in, p4_in, p5_in = inputs
        p4_up = self.mix(p4_in + self.epsilon * self.up(p5_in))
        return self.mix(p3_in + self.up(p4_up))


class Levels(nn.Module):
    """Maps of several scales, one by one; their patches are as many."""

    def __init__(self, channels=(8, 16, 32)):
        super().__init__()
        sizes = zip(channels, (16, 8, 4), strict=True)
        self.patches = nn.ModuleList(nn.Conv2d(width, width, side, stride=side) for width, side in sizes)

    def forward(self, en1, en2, en3):
        first, second, third = (
            one(x).flatten(2) for one, x in zip(self.patches, (en1, en2, en3), strict=True)
        )
        return torch.cat([first, second, third], 1)


class Joined(nn.Module):
    """What is laid beside it is as large as it has become."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.down = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1)
        self.mix = nn.Conv2d(2 * out_channels, out_channels, 1)

    def forward(self, x, rem):
        x = self.down(x)
        assert x.size() == rem.size()
        return self.mix(torch.cat((x, rem), 1))


class Hourglass(nn.Module):
    """Its sides must be halved seven times, which only its asserts say."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.downs = nn.ModuleList(nn.Conv2d(4, 4, 3, stride=2, padding=1) for _ in range(7))
        self.up = nn.Upsample(scale_factor=2)

    def forward(self, x):
        skips = [self.stem(x)]
        for down in self.downs:
            skips.append(down(skips[-1]))
        x = skips.pop()
        while skips:
            x, rem = self.up(x), skips.pop()
            assert x.size() == rem.size()
            x = x + rem
        return x


class Mixed(nn.Module):
    """A width of its settings is that of all inputs together."""

    def __init__(self, config):
        super().__init__()
        self.norm = nn.LayerNorm(config.KV_size)
        self.drop = nn.Dropout(config.transformer["dropout_rate"])
        self.maps = nn.ModuleList(nn.Linear(width, 8) for width in (8, 16))

    def forward(self, emb1, emb2):
        first, second = self.maps[0](emb1), self.maps[1](emb2)
        return self.drop(self.norm(torch.cat([emb1, emb2], dim=2))).sum(-1) + first.sum(-1) + second.sum(-1)


class Squeezed(nn.Module):
    """Cuts its sides into squares, twice."""

    def forward(self, x):
        for _ in range(2):
            b, c, h, w = x.shape
            x = (
                x.reshape(b, c, h // 2, 2, w // 2, 2)
                .permute(0, 1, 3, 5, 2, 4)
                .reshape(b, 4 * c, h // 2, w // 2)
            )
        return x


class OfShape(nn.Module):
    """Told the shape of an image, which is no list of widths."""

    def __init__(self, width, input_dims=(3, 16, 16)):
        super().__init__()
        self.map = nn.Linear(3 * 16 * 16, width)

    def forward(self, x):
        return self.map((x - 0.5 * x[0].numel()).flatten(1))


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (Fused, "Fused(32)((f32[5,32,32,32], f32[5,32,16,16], f32[5,32,8,8]))"),
        (Levels, "Levels()(f32[5,8,32,64], f32[5,16,16,32], f32[5,32,8,16])"),
        (Joined, "Joined(96, 64)(f32[5,96,11,13], f32[5,64,6,7])"),
        (Squeezed, "Squeezed()(f32[5,7,12,16])"),
        (OfShape, "OfShape(32)(f32[5,3,16,16])"),
        (Hourglass, "Hourglass()(f32[5,3,128,256])"),
        (
            Mixed,
            "Mixed(SimpleNamespace(KV_size=24, transformer=dict(dropout_rate=0.0)))(f32[5,7,8], f32[5,7,16])",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_it_is_called_with_sizes_that_fit(cls, said):
    assert subject_of_class(cls).inferred_from.startswith(said)
