"""Arguments that only what they are handed on to explains: `*inputs`, sizes that are None by default, shapes, parts."""
# ruff: noqa: ANN001, ANN002, ANN003, ANN201, ANN204
# mypy: ignore-errors

from __future__ import annotations

import pytest
import torch
from torch import nn

from layersmith.load.build import subject_of_class


class HandsOn(nn.Module):
    def __init__(self, in_ch, out_ch=16):
        super().__init__()
        self.module = nn.Sequential(nn.Conv2d(in_ch, out_ch, 4, 2, 1), nn.ReLU())

    def forward(self, *input):  # noqa: A002
        return self.module(*input)


class Pair(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.map = nn.Bilinear(dim, dim, dim)

    def forward(self, *features):
        return self.map(*features)


class Unset(nn.Module):
    """Sizes that are None by default and must be given."""

    def __init__(self, z_dim: int = None, a_size: int = None, hidden_dim: int = None):  # noqa: RUF013
        super().__init__()
        self.first = nn.Linear(z_dim, hidden_dim)
        self.second = nn.Linear(a_size, hidden_dim)

    def forward(self, x, **kwargs):
        s, a = x
        return self.first(s) + self.second(a)


class Decoder(nn.Module):
    """The sides of its shape are those that its layers make."""

    def __init__(self, input_size, output_shape, depth=4):
        super().__init__()
        self.output_shape = output_shape
        self.dense = nn.Linear(input_size, 4 * depth)
        self.up = nn.Sequential(
            nn.ConvTranspose2d(4 * depth, depth, 5, stride=2),
            nn.ConvTranspose2d(depth, output_shape[0], 6, stride=2),
        )

    def forward(self, features):
        out = self.up(self.dense(features)[:, :, None, None])
        return torch.reshape(out, (features.shape[0], *self.output_shape))


class Thirds(nn.Module):
    def __init__(self, hidden_dim):
        super().__init__()
        self.map = nn.Linear(hidden_dim, hidden_dim)

    def forward(self, x):
        _, _, d = x.shape
        first, second, third = torch.split(x, int(d / 3), dim=-1)
        return self.map(first) * second + third


class Policy(nn.Module):
    def __init__(self, state_dim, action_dim):
        super().__init__()
        self.map = nn.Linear(state_dim, action_dim)

    def forward(self, x):
        mean = self.map(x)
        return torch.distributions.Independent(torch.distributions.Normal(mean, torch.ones_like(mean)), 1)


class Diffusion(nn.Module):
    """As many matrices of nodes as its constructor is told."""

    def __init__(self, c_in, c_out, support_len=3):
        super().__init__()
        self.mix = nn.Conv2d((1 + support_len) * c_in, c_out, 1)

    def forward(self, x, support):
        out = [x]
        for a in support:
            out += [torch.einsum("ncvl,vw->ncwl", (x, a))]
        return self.mix(torch.cat(out, dim=1))


class Relations(nn.Module):
    """An edge from each node to each other."""

    def __init__(self, n_in, n_out, edge_types):
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(2 * n_in, n_out) for _ in range(edge_types))

    def forward(self, inputs, rel_type, rel_rec, rel_send):
        edges = torch.cat([torch.matmul(rel_rec, inputs), torch.matmul(rel_send, inputs)], dim=-1)
        edges = edges.view(inputs.size(0), inputs.size(1) * (inputs.size(1) - 1), -1)
        parts = [one(edges) * rel_type[:, :, i : i + 1] for i, one in enumerate(self.maps)]
        return torch.matmul(rel_rec.t(), sum(parts))


class Tasks(nn.Module):
    """Class numbers that are picked one task at a time."""

    def __init__(self, in_features, num_classes):
        super().__init__()
        self.map = nn.Linear(in_features, num_classes)

    def forward(self, x_spt, y_spt):
        tasks, _, _ = x_spt.size()
        losses = [nn.functional.cross_entropy(self.map(x_spt[i]), y_spt[i]) for i in range(tasks)]
        return sum(losses) / tasks


class Gated(nn.Module):
    """A cell that takes one score a row beside its input."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.inner, self.outer = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size)

    def forward(self, inputs, hx, att_score):
        share = att_score.view(-1, 1) * torch.sigmoid(self.inner(inputs))
        return (1.0 - share) * hx + share * torch.tanh(self.outer(hx))


class Spectra(nn.Module):
    """A window that is moved by no more than its length."""

    def __init__(self, n_fft: int, hop_length: int):
        super().__init__()
        self.n_fft, self.hop_length = n_fft, hop_length
        self.gain = nn.Parameter(torch.ones(n_fft // 2 + 1, 1))

    def forward(self, x):
        window = torch.hann_window(self.n_fft)
        found = torch.stft(x, self.n_fft, self.hop_length, window=window, return_complex=True)
        return torch.istft(found * self.gain, self.n_fft, self.hop_length, window=window)


class Bands(nn.Module):
    """Lists of numbers that pick columns, each of which is measured."""

    def __init__(self, hidden_size, band_indices):
        super().__init__()
        self.band_indices = band_indices
        counts = range(len(band_indices))
        self.maps = nn.ModuleList([nn.Linear(len(band_indices[i]), hidden_size) for i in counts])

    def forward(self, x):
        return torch.stack(
            [one(x[..., at]) for one, at in zip(self.maps, self.band_indices, strict=True)], -2
        )


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (HandsOn, "HandsOn(96)(f32[5,96,11,13])"),
        (Pair, "Pair(32)(f32[5,7,32], f32[5,7,32])"),
        (Unset, "Unset(z_dim=24, a_size=32, hidden_dim=48)((f32[5,24], f32[5,32]))"),
        (Decoder, "Decoder(96, (3, 14, 14))(f32[5,96])"),
        (Thirds, "Thirds(48)(f32[5,7,144])"),
        (Diffusion, "Diffusion(96, 64)(f32[5,96,11,13], [f32[11,11]<1, f32[11,11]<1, f32[11,11]<1])"),
        (Relations, "Relations(96, 64, 2)(f32[5,7,96], f32[5,42,2]<1, f32[42,7]<1, f32[42,7]<1)"),
        (Tasks, "Tasks(96, 10)(f32[5,7,96], i64[5,7]<4)"),
        (Gated, "Gated(96, 48)(f32[5,96], f32[5,48], f32[5])"),
        (Spectra, "Spectra(64, 16)(f32[5,512])"),
        (Bands, "Bands(48, [[0, 1], [0, 1]])(f32[5,"),
        (Policy, "Policy(96, 64)(f32[5,96])"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_it_is_called_as_what_takes_its_arguments_asks(cls, said):
    assert subject_of_class(cls).inferred_from.startswith(said)
