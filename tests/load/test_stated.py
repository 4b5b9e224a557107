"""Shapes that docstrings and comments state, in the ways in which people write them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from layersmith.load.build import subject_of_class
from layersmith.load.call.stated import documented_clue

STATEMENTS = {
    "x: (B, N, C)": ("B", "N", "C"),
    "x: input of shape [batch, time, dim]": ("batch", "time", "dim"),
    "x (Tensor): input features, shape (B, N, C).": ("B", "N", "C"),
    "x (torch.Tensor, optional): (B, C, H, W)": ("B", "C", "H", "W"),
    "x : torch.Tensor\n    The features, (batch, time, dim).": ("batch", "time", "dim"),
    "x: [B, N, 3], y: [B, S, 3]\n    z: [B, N, D]": ("B", "N", "3"),
    "x: the points\n    y: (B, N)": (),
    "x: B x C x H x W": ("B", "C", "H", "W"),
    "x (Tensor): BxCxHxW images": ("B", "C", "H", "W"),
    "y (batch, dim), x (batch,) int64": ("batch",),
    "forward(x, y): x (batch,), y (batch, dim)": ("batch",),
    "x (batch): how long each row is": ("batch",),
    "X: [batch_size x len_q x d_model], y: [batch_size x len_k]": ("batch_size", "len_q", "d_model"),
    "x: the i-th of n (of N)": (),
    "x: scale (B) x (C)": (),
    "forward(x, y): (batch, dim)": (),  # whose is it?
    "x: extra (see the paper)": (),
    "x: list of (B, C, H_l, W_l), one a level": (),  # each is, not x
}


def documented(text: str) -> type[nn.Module]:
    return type("Documented", (nn.Module,), {"__doc__": text})


@pytest.mark.parametrize(("text", "axes"), STATEMENTS.items())
def test_what_is_said_of_a_parameter(text: str, axes: tuple[str, ...]) -> None:
    clue = documented_clue(documented(text), "x")
    assert clue.names == axes
    assert clue.rank == (len(axes) or None)


class Beside(nn.Module):
    """Inputs: inputs (batch, time, dim)."""

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        return inputs * lengths.view(-1, 1, 1)


def test_what_is_said_of_a_parameter_that_is_called_inputs_is_said_of_no_other() -> None:
    assert documented_clue(Beside, "inputs").rank == 3
    assert documented_clue(Beside, "lengths").rank is None


DTYPES = {
    "x: (B, T) bool, True for real": torch.bool,
    "x (batch,) int64": torch.int64,
    "x (torch.LongTensor): tokens, shape (B, T)": torch.int64,
    "x: (B, T), of integers": torch.int64,
    "x (Tensor): (B, T, C)": None,
    "x: (B, C), mask: (B, T) bool": None,
}


@pytest.mark.parametrize(("text", "dtype"), DTYPES.items())
def test_what_is_said_of_a_dtype(text: str, dtype: torch.dtype | None) -> None:
    assert documented_clue(documented(text), "x").dtype is dtype


def test_a_list_is_of_the_shapes_that_are_said_of_each() -> None:
    assert documented_clue(documented("x: list of (B, C, H_l, W_l), one a level"), "x").is_sequence


class Scaled(nn.Module):
    """features: list of (B, C, H_l, W_l), one per level."""

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 3, padding=1)
        self.scales = nn.ParameterList(nn.Parameter(torch.ones(())) for _ in range(3))

    def forward(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        return [scale * self.conv(x) for scale, x in zip(self.scales, features, strict=False)]


class Relations(nn.Module):
    """x: (B, N, in_features), adj: (B, R, N, N)."""

    def __init__(self, in_features: int, out_features: int, num_relations: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_relations, in_features, out_features))

    def forward(self, x: torch.Tensor, adj: torch.Tensor) -> torch.Tensor:
        return (adj @ torch.einsum("bni,rio->brno", x, self.weight)).sum(1)


def test_a_map_for_each_scale() -> None:
    (maps,) = subject_of_class(Scaled).inputs(0).args
    assert [x.shape[1:] for x in maps] == [(16, 32, 32), (16, 16, 16), (16, 8, 8)]


def test_an_adjacency_of_each_relation() -> None:
    subject = subject_of_class(Relations)
    x, adjacency = subject.inputs(0).args
    relations = len(subject.build(0).weight)  # type: ignore[arg-type]
    assert adjacency.shape == (len(x), relations, x.shape[1], x.shape[1])
