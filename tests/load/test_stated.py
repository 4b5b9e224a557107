"""Shapes that docstrings and comments state, in the ways in which people write them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

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
    "forward(x, y): (batch, dim)": (),  # whose is it?
    "x: extra (see the paper)": (),
}


def documented(text: str) -> type[nn.Module]:
    return type("Documented", (nn.Module,), {"__doc__": text})


@pytest.mark.parametrize(("text", "axes"), STATEMENTS.items())
def test_what_is_said_of_a_parameter(text: str, axes: tuple[str, ...]) -> None:
    clue = documented_clue(documented(text), "x")
    assert clue.names == axes
    assert clue.rank == (len(axes) or None)


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
