"""What docstrings say of a constructor's arguments, and what errors say of scales and shares."""
# ruff: noqa: ANN001, ANN201, ANN204
# mypy: ignore-errors

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from layersmith import runner
from layersmith.finding import Severity
from layersmith.load.build import subject_of_class
from layersmith.load.constructor.told import told_kind
from layersmith.registry import load

WORDS = {
    "share : float\n    How many are left out.": float,
    "share : int, optional": int,
    "share (float): how many are left out": float,
    "share (list of int): one for each": list[int],
    "share : list of ints": list[int],
    ":param str share: which": str,
    ":type share: bool": bool,
    "share : int or list of int": int,
    "share: the part that is left out": None,
    "other (int): not this one": None,
    "share : interpolation": None,
}


@pytest.mark.parametrize(("text", "kind"), WORDS.items())
def test_the_kind_of_an_argument_is_read_in_the_documentation(text: str, kind: Any) -> None:
    assert told_kind(type("Told", (), {"__doc__": f"\n    {text}\n"}), "share") == kind


class Pyramid(nn.Module):
    """Three maps, each half as large as the one before."""

    def __init__(self, channels):
        super().__init__()
        self.sides = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(3))

    def forward(self, maps):
        large, middle, small = maps
        large, middle, small = self.sides[0](large), self.sides[1](middle), self.sides[2](small)
        middle = middle + nn.functional.interpolate(small, scale_factor=2)
        return large + nn.functional.interpolate(middle, scale_factor=2)


class Obscured(nn.Module):
    def __init__(self, ratio):
        """
        Parameters
        ----------
        ratio : float
            How many features are left out.
        """
        super().__init__()
        self.ratio = ratio

    def forward(self, x):
        return x * torch.bernoulli(self.ratio * torch.ones_like(x))


class Embedded(nn.Module):
    """The columns that are classes are embedded.

    Args:
        cat_idxs (list of int): which columns.
    """

    def __init__(self, input_dim, cat_idxs):
        super().__init__()
        self.rest = torch.ones(input_dim, dtype=torch.bool)
        self.rest[cat_idxs] = False
        assert int((~self.rest).sum()) == len(cat_idxs)
        self.linear = nn.Linear(input_dim, 4)

    def forward(self, x):
        return self.linear(x * self.rest)


class GridOfAnExample(nn.Module):
    def __init__(self, num_anchors, num_classes):
        super().__init__()
        self.num_anchors, self.each = num_anchors, num_classes + 5

    def forward(self, x):
        bs, _, ny, nx = x.shape  # x(bs,255,20,20) to x(bs,3,20,20,85)
        return x.view(bs, self.num_anchors, self.each, ny, nx).permute(0, 1, 3, 4, 2)


CALLS = {
    Pyramid: "f32[5,32,32,32], f32[5,32,16,16], f32[5,32,8,8]",
    Obscured: "Obscured(0.5)",
    Embedded: "[0, 1]",
    GridOfAnExample: ",20,20])",
}


@pytest.mark.parametrize(("cls", "call"), CALLS.items(), ids=lambda one: getattr(one, "__name__", ""))
def test_what_words_say_is_tried(cls: type[nn.Module], call: str) -> None:
    assert call in subject_of_class(cls).inferred_from


class Within(nn.Module):
    def forward(self, x, freqs_complex):
        pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2)) * freqs_complex
        return torch.view_as_real(pairs).flatten(-2)


class CallsForwardItself(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.within = Within()
        self.linear = nn.Linear(dim, dim)

    def forward(self, x):
        angles = torch.arange(x.shape[1])[:, None] / torch.arange(1, x.shape[-1] // 2 + 1)
        return self.within.forward(self.linear(x), torch.polar(torch.ones_like(angles), angles))


def test_a_part_whose_forward_is_called_itself_is_called_as_its_user_does() -> None:
    assert "as CallsForwardItself builds and calls it" in subject_of_class(Within).inferred_from


class Detects(nn.Module):
    """In train mode the boxes come with the image."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, inputs):
        if self.training:
            image, boxes = inputs
        else:
            image = inputs
        found = self.conv(image).flatten(2).mean(-1)
        return (found - boxes).square().mean() if self.training else found


class DetectsAmiss(Detects):
    def forward(self, inputs):
        image = inputs
        if self.training:
            image, _scale = image.mean(0), image.std(0).shape
            _height, _width = _scale
        return self.conv(image)


@pytest.mark.parametrize(("cls", "severity"), [(Detects, Severity.NOTE), (DetectsAmiss, Severity.WARNING)])
def test_train_mode_may_take_its_input_apart(cls: type[nn.Module], severity: Severity) -> None:
    rule = load("forward-raises")
    result = runner.ask(subject_of_class(cls), rule)
    assert [result.severity_of(finding) for finding in result.findings] == [severity]


class PicksPoints(nn.Module):
    """The points are asked for their size where others pick of them."""

    def forward(self, points):
        nearest = torch.cdist(points, points).argsort()[:, :, 1]
        return torch.gather(points, 1, nearest[..., None].expand(-1, -1, points.size(-1)))


def test_what_is_asked_for_its_size_beside_an_index_is_none() -> None:
    assert "(f32[5," in subject_of_class(PicksPoints).inferred_from


class HeadsInTurn(nn.Module):
    """One head for each of the outputs, picked by the loop's number."""

    def __init__(self, dim):
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(dim, 6) for _ in range(3))

    def forward(self, steps):
        total = 0
        for number, step in enumerate(steps):
            total = total + self.heads[number](step)
        return total


class TakesAPair(nn.Module):
    """A tensor, and a list beside it."""

    def forward(self, found):
        scores, penalties = found
        total = 0
        for penalty in penalties:
            total = total + penalty.mean(1)
        return scores.mean((1, 2)) - total


LISTS = {HeadsInTurn: "([f32[5,32], f32[5,32], f32[5,32]])", TakesAPair: "[f32[5,32], f32[5,32]]"}


@pytest.mark.parametrize(("cls", "call"), LISTS.items(), ids=lambda one: getattr(one, "__name__", ""))
def test_what_is_gone_through_beside_layers_or_another_is_a_list(cls: type[nn.Module], call: str) -> None:
    assert call in subject_of_class(cls).inferred_from


class WidensFirst(nn.Module):
    """Of the widths that one may say, one alone fits."""

    def __init__(self, encoder_dims):
        super().__init__()
        self.before, self.encode = nn.Linear(6, 128), nn.Linear(encoder_dims, 4)

    def forward(self, x):
        return self.encode(self.before(x))


class Clashes(nn.Module):
    """No width fits."""

    def __init__(self, encoder_dims):
        super().__init__()
        self.before, self.encode = nn.Linear(6, 2 * encoder_dims), nn.Linear(encoder_dims, 4)

    def forward(self, x):
        return self.encode(self.before(x))


def test_a_width_that_was_made_up_is_no_fault_of_the_layers() -> None:
    assert subject_of_class(WidensFirst).inferred_from.startswith("WidensFirst(128)")
    assert not subject_of_class(WidensFirst).doubt
    assert runner.ask(subject_of_class(Clashes), load("forward-raises")).findings
