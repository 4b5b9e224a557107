"""Errors that name a rank, a shape or a divisor lead to the inputs that people use."""
# ruff: noqa: ANN001, ANN201, ANN204
# mypy: ignore-errors

from __future__ import annotations

import pytest
import torch
from torch import nn

from layersmith.load.attempt import Deadline, OutOfBudget, contained
from layersmith.load.build import subject_of_class
from layersmith.load.call.callee import Callee
from layersmith.load.call.repair import repaired
from layersmith.load.call.repair.complaint import Complaint
from layersmith.load.unbuildable import Unbuildable
from layersmith.load.values import TensorSpec


class Anything(nn.Module):
    def __init__(self, channels=3):
        super().__init__()

    def forward(self, x):
        return x


# A message, about what, and the first input that is tried after it.
ADVICE = [
    (
        "Given groups=1, weight of size [32, 3, 4, 4], expected input[1, 5, 7, 11] to have 3 channels, but got 5",
        (5, 7, 11),
        "f32[5,7,11,13]",
    ),
    ("Shape mismatch, can't divide axis of length 2 in chunks of 7", (5, 3, 11, 13), "f32[5,3,56,56]"),
    ("Shape mismatch, can't divide axis of length 14 in chunks of 8", (5, 3, 56, 56), "f32[5,3,224,224]"),
    ("we support only boxes with shape [N,4] or [N,6], got [5, 32]", (5, 32), "f32[5,4]"),
    ("The size of tensor a (112) must match the size of tensor b (512)", (5, 8, 7), "f32[5,8,32]"),
    (
        "The shape of the mask [5, 24, 7] at index 2 does not match the shape of the indexed tensor [5, 24, 16] at",
        (5, 3, 7),
        "f32[5,3,16]",
    ),
    (
        "expected TensorOptions(dtype=long int, device=cpu) (got TensorOptions(dtype=float",
        (5, 7),
        "i64[5,7]<4",
    ),
    ("gather(): Expected dtype int32/int64 for index", (5, 7), "i64[5,7]<4"),
    ("x must be (*, 3, H, W)", (5, 7, 11, 13), "f32[5,3,11,13]"),
    ("Expected 2 spatial dimensions, got 1", (5, 7, 11), "f32[5,7,11,13]"),
    (
        "Given normalized_shape=[133], expected input with shape [*, 133], but got input of size[5, 77, 143]",
        (5, 7, 11, 13),
        "f32[5,7,11,3]",
    ),
]


@pytest.mark.parametrize(("text", "shape", "first"), ADVICE, ids=[text[:30] for text, *_ in ADVICE])
def test_a_message_says_what_to_try_first(text: str, shape: tuple[int, ...], first: str) -> None:
    callee = Callee.of(Anything(), {})
    state = {"x": TensorSpec(shape, free=frozenset(range(len(shape))) - {1})}
    assert str(repaired(Complaint(callee, state, ValueError(text)))[0]["x"]) == first


class Two(nn.Module):
    def __init__(self):
        super().__init__()

    def forward(self, x, y):
        return torch.cat([x, y], -1)


def test_what_is_joined_grows_along_the_axis_along_which_it_is_joined():
    text = "Given groups=1, expected input[5, 6, 16, 1] to have 99 channels, but got 6 channels instead"
    state = {name: TensorSpec((5, 16, 3)) for name in ("x", "y")}
    found = repaired(Complaint(Callee.of(Two(), {}), state, ValueError(text)))
    assert str(found[0]["y"]) == "f32[5,16,96]"


class Spatial(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        shape = list(x.shape[2:])
        if len(shape) != 2:
            raise ValueError(f"Expected 2 spatial dimensions, got {len(shape)}")
        return x * self.scale.view(1, -1, 1, 1)


class PoolsAlike(nn.Module):
    """A stride that has no default of its own."""

    def __init__(self, kernel_size, stride=None):
        super().__init__()
        self.kernel_size, self.stride = kernel_size, stride

    def forward(self, x):
        steps = x.shape[-1] // self.stride
        return nn.functional.avg_pool2d(x, self.kernel_size, 1, padding=1)[..., :steps]


class Mixes(nn.Module):
    """Every node hears its neighbours, in one graph for all rows."""

    def __init__(self, c_in, c_out):
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, 1)

    def forward(self, x, adj):
        share = adj / adj.sum(1).view(-1, 1)
        return self.conv(torch.einsum("ncwl,vw->ncvl", (x, share)))


class Unsized(nn.Module):
    def __init__(self, count=-1):
        super().__init__()
        self.count = count

    def forward(self, x):
        assert x.shape[1] == self.count
        return x


def test_a_size_below_zero_ends_no_search() -> None:
    with pytest.raises(Unbuildable):
        subject_of_class(Unsized)


@pytest.mark.parametrize(
    ("cls", "call"),
    [
        (Spatial, "f32[5,32,11,13]"),
        (PoolsAlike, "f32[5,7,11,13]"),
        (Mixes, "f32[5,96,11,13], f32[11,11]<1"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_error_leads_to_the_inputs_of_real_use(cls: type[nn.Module], call: str) -> None:
    assert f"({call})" in subject_of_class(cls).inferred_from


class CountsBins(nn.Module):
    def __init__(self, bits):
        super().__init__()
        self.bits = bits

    def forward(self, x):
        return torch.bucketize(x, torch.arange(0, 1, 1 / 2**self.bits))


def test_a_range_of_billions_is_out_of_budget() -> None:
    with pytest.raises(OutOfBudget), contained(Deadline.after(5)):
        CountsBins(40)(torch.rand(2))


def test_short_ranges_are_within_it() -> None:
    with contained(Deadline.after(5)):
        assert torch.arange(4).tolist() == [0, 1, 2, 3]
        assert torch.arange(1, 7, 2).tolist() == [1, 3, 5]
        assert torch.arange(start=0, end=2).tolist() == [0, 1]
