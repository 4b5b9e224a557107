"""What large models ask for: longer lists, the option that an inner module unpacks, proportions, packed rows."""
# ruff: noqa: ANN001, ANN201, ANN204, N812
# mypy: ignore-errors

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from layersmith.load.build import subject_of_class


class Levels(nn.Module):
    """Counts on more levels than a guess of its list would have."""

    def __init__(self, in_channels: list[int], dim: int = 32):
        super().__init__()
        self.projections = nn.ModuleList(nn.Conv2d(width, dim, 1) for width in in_channels)

    def forward(self, maps: list):
        projected = [projection(level) for projection, level in zip(self.projections, maps, strict=False)]
        fine, middle, coarse = self.projections[0], self.projections[1], self.projections[2]
        return [layer(level) for layer, level in zip((fine, middle, coarse), maps, strict=True)] + projected


def test_a_list_of_sizes_is_as_long_as_forward_counts_on() -> None:
    subject = subject_of_class(Levels)
    assert subject.inferred_from.startswith("Levels([48, 32, 32])(["), subject.inferred_from
    assert not subject.doubt


class Rotated(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.to_q = nn.Linear(dim, dim)

    def forward(self, hidden, mask=None, positions=None, store=None, rotation=None):
        cos, sin = rotation
        q = self.to_q(hidden)
        q = q * cos + q.flip(-1) * sin
        return q if store is None else store.update(q, self)


class Layer(nn.Module):
    """Hands on two options, of which its inner module cannot do without the second."""

    def __init__(self, dim):
        super().__init__()
        self.inner = Rotated(dim)

    def forward(self, hidden, mask=None, positions=None, store=None, rotation=None):
        return hidden + self.inner(hidden, mask=mask, positions=positions, store=store, rotation=rotation)


def test_the_option_that_an_inner_module_misses_is_given_alone() -> None:
    subject = subject_of_class(Layer)
    assert "store=" not in subject.inferred_from
    assert subject.inferred_from.startswith("Layer(32)(f32[5,7,32], rotation=("), subject.inferred_from


@dataclass
class LatentConfig:
    hidden_size: int = 512
    num_attention_heads: int = 16
    num_key_value_heads: int = 16
    n_routed_experts: int = 64
    n_group: int = 8


class LatentAttention(nn.Module):
    """Each query has a head of keys of its own, and experts are chosen by groups: what the defaults say must hold."""

    def __init__(self, config: LatentConfig):
        super().__init__()
        self.config = config
        self.heads, self.groups = config.num_attention_heads, config.n_group
        self.repeats = self.heads // config.num_key_value_heads
        self.to_q = nn.Linear(config.hidden_size, config.hidden_size)
        self.gate = nn.Linear(config.hidden_size, config.n_routed_experts)

    def forward(self, hidden_states):
        b, t, d = hidden_states.shape
        q = self.to_q(hidden_states).view(b, t, self.heads, -1).transpose(1, 2)
        scores = q @ q.repeat_interleave(self.repeats, dim=1).transpose(-1, -2)
        out = (scores.softmax(-1) @ q).transpose(1, 2).reshape(b, t, d)
        experts = self.config.n_routed_experts // self.groups
        best = self.gate(hidden_states).view(b, t, self.groups, experts).amax(-1)
        return out * best.sum(-1, keepdim=True).sigmoid()


def test_settings_stay_in_the_proportions_of_their_defaults() -> None:
    subject = subject_of_class(LatentAttention)
    assert "num_attention_heads=4, num_key_value_heads=4" in subject.inferred_from, subject.inferred_from
    assert not subject.doubt


class PackedAttention(nn.Module):
    """Attention within each of several sequences, one after the other in a single row."""

    def __init__(self, dim, num_heads=4):
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)

    def forward(self, hidden_states, cu_seqlens):
        n = hidden_states.shape[0]
        q, k, v = self.qkv(hidden_states).reshape(n, 3, self.num_heads, -1).permute(1, 2, 0, 3).unbind(0)
        lengths = (cu_seqlens[1:] - cu_seqlens[:-1]).tolist()
        parts = zip(*(part.split(lengths, dim=1) for part in (q, k, v)), strict=True)
        out = torch.cat([F.scaled_dot_product_attention(*part) for part in parts], dim=1)
        return out.transpose(0, 1).reshape(n, -1)


def test_packed_sequences_begin_where_they_are_said_to() -> None:
    subject = subject_of_class(PackedAttention)
    assert subject.inferred_from.startswith("PackedAttention(32)(f32[5,32], torch.tensor([0, 2, 5]))")


class CouplesHalves(nn.Module):
    """The first half of the channels goes through a layer; without the second there is nothing to scale."""

    def __init__(self, in_channels, hidden_channels):
        super().__init__()
        self.half = in_channels // 2
        self.start = nn.Conv1d(self.half, hidden_channels, 1)
        self.end = nn.Conv1d(hidden_channels, in_channels, 1)

    def forward(self, x):
        x_0, x_1 = x[:, : self.half], x[:, self.half :]
        m, logs = self.end(self.start(x_0).relu()).chunk(2, dim=1)
        return torch.cat([x_0, m + logs.exp() * x_1], 1), logs.sum([1, 2])


def test_the_half_that_is_left_over_is_there() -> None:
    subject = subject_of_class(CouplesHalves)
    assert subject.inferred_from.startswith("CouplesHalves(96, 48)(f32[5,96,11])"), subject.inferred_from
    assert not subject.doubt
