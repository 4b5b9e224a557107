"""A class that is heavy as it was first built is asked in a smaller size, one that is light as it is."""
# ruff: noqa: ANN001, ANN201, ANN204
# mypy: ignore-errors

from __future__ import annotations

import pytest
import torch
from torch import nn

from layersmith.load.build import subject_of_class


class Spectral(nn.Module):
    """Weights of four sizes multiplied."""

    def __init__(self, in_channels, out_channels, modes1, modes2):
        super().__init__()
        self.weight = nn.Parameter(
            torch.randn(in_channels, out_channels, modes1, modes2, dtype=torch.cfloat) / in_channels
        )

    def forward(self, x):
        height, width = self.weight.shape[2:]
        product = torch.einsum("bixy,ioxy->boxy", torch.fft.fft2(x)[:, :, :height, :width], self.weight)
        return torch.fft.ifft2(product, s=x.shape[-2:]).real


class Deep(nn.Module):
    """Sizes that only defaults tell."""

    def __init__(self, vocab_size=50257, d_model=768, n_heads=12, n_layers=12):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, d_model)
        layer = nn.TransformerEncoderLayer(d_model, n_heads, 4 * d_model, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, n_layers, enable_nested_tensor=False)

    def forward(self, tokens):
        return self.layers(self.embed(tokens))


class Staged(nn.Module):
    """Blocks in stages, as the call below builds it."""

    def __init__(self, num_blocks, width):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.stages = nn.ModuleList(
            nn.Sequential(*(nn.Conv2d(width, width, 3, padding=1) for _ in range(count)))
            for count in num_blocks
        )

    def forward(self, image):
        image = self.stem(image)
        for stage in self.stages:
            image = image + stage(image)
        return image.mean((2, 3))


class Fixed(nn.Module):
    """Heavy, and no argument makes it less so."""

    def __init__(self, classes=10):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(32, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.Linear(4096, classes)
        )

    def forward(self, x):
        return self.layers(x)


class Light(nn.Module):
    """A default width that is no trouble."""

    def __init__(self, dim=256, n_layers=4):
        super().__init__()
        self.layers = nn.Sequential(*(nn.Linear(dim, dim) for _ in range(n_layers)))

    def forward(self, x):
        return self.layers(x)


def staged():
    return Staged([3, 4, 6, 3], 256)


def parameters(cls):
    return sum(one.numel() for one in subject_of_class(cls).build(0).parameters())


@pytest.mark.parametrize("cls", [Spectral, Deep, Staged])
def test_a_heavy_class_is_made_small(cls):
    subject = subject_of_class(cls)
    assert "made small" in subject.inferred_from
    assert parameters(cls) < 2_000_000
    subject.inputs(0).call(subject.build(0))


@pytest.mark.parametrize("cls", [Fixed, Light])
def test_what_is_light_or_cannot_be_made_small_keeps_its_defaults(cls):
    assert f"{cls.__name__}()(" in subject_of_class(cls).inferred_from


def test_the_same_is_found_each_time():
    assert subject_of_class(Deep).inferred_from == subject_of_class(Deep).inferred_from


def test_what_the_user_says_is_not_touched():
    subject = subject_of_class(Deep, inputs=torch.zeros(2, 7, dtype=torch.int64))
    assert "Deep()(" in subject.inferred_from
