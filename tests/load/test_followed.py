"""What happens to an input between its first name and its first consumer is followed, in rank at least."""
# ruff: noqa: ANN001, ANN201, ANN202, ANN204, ANN205, N812
# mypy: ignore-errors

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from layersmith.load.build import subject_of_class


class Masked(nn.Module):
    """A convolution takes an unbatched matrix, but its steps are masked: a batch of signals."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, 3, padding=1)

    def forward(self, x, x_mask):
        for _ in range(2):
            y = self.conv(x * x_mask)
            x = x + F.gelu(y)
        return x * x_mask


class PaddedByItsMethod(nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size):
        super().__init__()
        self.padding = self._both_sides
        self.kernel_size = kernel_size
        self.conv = nn.Conv1d(in_channels, out_channels, kernel_size)

    def forward(self, x, x_mask):
        return self.conv(self.padding(x * x_mask))

    def _both_sides(self, x):
        if self.kernel_size == 1:
            return x
        return F.pad(x, ((self.kernel_size - 1) // 2, self.kernel_size // 2, 0, 0, 0, 0))


class Coupling(nn.Module):
    """Its input is taken apart before a layer sees it."""

    def __init__(self, channels, hidden_channels):
        super().__init__()
        self.half = channels // 2
        self.pre = nn.Conv1d(self.half, hidden_channels, 1)
        self.inner = Masked(hidden_channels)
        self.post = nn.Conv1d(hidden_channels, self.half, 1)

    def forward(self, x, x_mask):
        x0, x1 = torch.split(x, [self.half] * 2, 1)
        h = self.inner(self.pre(x0) * x_mask, x_mask)
        return torch.cat([x0, x1 + self.post(h) * x_mask], 1)


class NormalisedAlongChannels(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.channels = channels
        self.gamma = nn.Parameter(torch.ones(channels))

    def forward(self, x):
        x = x.transpose(1, -1)
        x = F.layer_norm(x, (self.channels,), self.gamma)
        return x.transpose(1, -1)


class ScaledPerChannel(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(channels, 1))
        self.log_scale = nn.Parameter(torch.zeros(channels, 1))

    def forward(self, x):
        return self.shift + torch.exp(self.log_scale) * x


class Timed(nn.Module):
    """One time for each row: its waves are made by a static method."""

    def __init__(self, hidden_size, frequency_size=16):
        super().__init__()
        self.frequency_size = frequency_size
        self.mlp = nn.Linear(frequency_size, hidden_size)

    @staticmethod
    def waves(t, size):
        freqs = torch.exp(-torch.arange(size // 2) / size)
        args = t[:, None].float() * freqs[None]
        return torch.cat([args.cos(), args.sin()], dim=-1)

    def forward(self, t):
        return self.mlp(self.waves(t, self.frequency_size))


class OfTheFirst(nn.Module):
    """The first step of a sequence alone, as BERT does it."""

    def __init__(self, hidden):
        super().__init__()
        self.linear = nn.Linear(hidden, 2)

    def forward(self, x):
        return self.linear(x[:, 0])


class OfTheLast(nn.Module):
    """The same step under a name of its own."""

    def __init__(self, hidden):
        super().__init__()
        self.linear = nn.Linear(hidden, 2)

    def forward(self, x):
        last = x[:, -1, :]
        return self.linear(last)


class OfItsDimensions(nn.Module):
    """It is built for two dimensions: what it would do with three says nothing."""

    def __init__(self, channels, dims=2):
        super().__init__()
        self.channels, self.dims = channels, dims

    def forward(self, x):
        assert x.shape[1] == self.channels
        if self.dims == 3:
            return F.interpolate(x, (x.shape[2], x.shape[3] * 2, x.shape[4] * 2), mode="nearest")
        return F.interpolate(x, scale_factor=2, mode="nearest")


class GlobalAvgPool2d(nn.Module):
    """Its name alone says that it takes images."""

    def forward(self, inputs):
        return inputs.view(inputs.size(0), inputs.size(1), -1).mean(dim=2)


class ScaleNorm(nn.Module):
    """What it takes bears the name of a sequence."""

    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, hidden_states):
        return self.weight * hidden_states / hidden_states.norm(dim=-1, keepdim=True)


class WithValidKeys(nn.Module):
    """Four colons would be said of a mask with four dimensions."""

    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x, valid):
        b, n, d = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = (q @ k.transpose(-1, -2)).masked_fill(~valid[:, None, None, :], -1e4)
        return self.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(b, n, d))


class PairsOfNodes(nn.Module):
    """One colon less than there are dimensions."""

    def __init__(self, dim):
        super().__init__()
        self.mlp = nn.Linear(2 * dim, dim)

    def forward(self, h):
        n = h.size(1)
        one, other = h[:, :, None].expand(-1, -1, n, -1), h[:, None, :].expand(-1, n, -1, -1)
        return self.mlp(torch.cat([one, other], dim=-1)).sum(2)


class OfGraphs(nn.Module):
    """One number for each graph.

    x: (N, in_dim), edge_index: (2, E), graph_id: (N,) with values below num_graphs.
    """

    def __init__(self, in_dim=9):
        super().__init__()
        self.out = nn.Linear(in_dim, 1)

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor, graph_id: torch.Tensor, num_graphs: int):
        src, dst = edge_index
        x = torch.zeros_like(x).index_add(0, dst, x[src])
        return self.out(x.new_zeros(num_graphs, x.size(1)).index_add(0, graph_id, x)).squeeze(-1)


REAL = {
    PairsOfNodes: "PairsOfNodes(32)(f32[5,7,32])",
    OfGraphs: "OfGraphs()(f32[11,9], i64[2,40]<11, i64[11]<2, 2)",
    WithValidKeys: "WithValidKeys(32, 4)(f32[5,7,32], bool[5,7])",
    OfTheFirst: "OfTheFirst(48)(f32[5,7,48])",
    OfTheLast: "OfTheLast(48)(f32[5,7,48])",
    OfItsDimensions: "OfItsDimensions(32)(f32[5,32,11,13])",
    GlobalAvgPool2d: "GlobalAvgPool2d()(f32[5,7,11,13])",
    ScaleNorm: "ScaleNorm(32)(f32[5,7,32])",
    Masked: "Masked(32)(f32[5,32,11], bool[5,1,11])",
    PaddedByItsMethod: "PaddedByItsMethod(96, 64, 3)(f32[5,96,11], bool[5,1,11])",
    Coupling: "Coupling(32, 48)(f32[5,32,11], bool[5,1,11])",
    NormalisedAlongChannels: "NormalisedAlongChannels(32)(f32[5,32,11])",
    Timed: "Timed(48)(f32[5])",
    ScaledPerChannel: "ScaledPerChannel(32)(f32[5,32,11])",
}


@pytest.mark.parametrize("cls", REAL, ids=lambda cls: cls.__name__)
def test_an_input_is_followed_to_what_says_its_rank(cls) -> None:
    subject = subject_of_class(cls)
    assert subject.inferred_from.startswith(REAL[cls]), subject.inferred_from
    assert not subject.doubt
