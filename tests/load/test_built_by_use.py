"""What is done with an argument, where the name says nothing or another thing, says what it is."""
# ruff: noqa: ANN001, ANN002, ANN003, ANN201, ANN204
# mypy: ignore-errors

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name that everyone knows
from torch import nn

from layersmith.load.build import subject_of_class
from layersmith.load.constructor.usage import usages


class AddBias(nn.Module):
    """A bias that is no flag."""

    def __init__(self, bias):
        super().__init__()
        self._bias = nn.Parameter(bias.unsqueeze(1))

    def forward(self, x):
        return x + self._bias.t().view(1, -1)


class DropsTwice(nn.Module):
    """A list that nothing but forward takes apart."""

    def __init__(self, embed_dim, dropouts):
        super().__init__()
        self.linear = nn.Linear(embed_dim, embed_dim)
        self.dropouts = dropouts

    def forward(self, x):
        x = F.dropout(x, p=self.dropouts[0], training=self.training)
        return F.dropout(self.linear(x), p=self.dropouts[1], training=self.training)


class PicksFields(nn.Module):
    def __init__(self, field_dims, user_field_idx, item_field_idx):
        super().__init__()
        self.embedding = nn.Embedding(sum(field_dims), 16)
        self.user, self.item = user_field_idx, item_field_idx

    def forward(self, x):
        x = self.embedding(x)
        return (x[:, self.user] * x[:, self.item]).sum(-1)


class AsksItsSettings(nn.Module):
    """Settings as argparse returns them, with `in`."""

    def __init__(self, args):
        super().__init__()
        self.args = args
        if "dropout" not in self.args:
            self.args.dropout = 0.0
        if args.small:
            args.corr_levels = 2
        self.conv = nn.Conv2d(3, 8 * args.corr_levels, 3, padding=1)

    def forward(self, image):
        return self.conv(image)


class Attends(nn.Module):
    """At which resolutions is asked with `in`."""

    def __init__(self, in_channels, model_channels, attention_resolutions):
        super().__init__()
        widths = [model_channels if level in attention_resolutions else in_channels for level in (1, 2)]
        self.layers = nn.ModuleList(nn.Conv2d(in_channels, width, 1) for width in widths)

    def forward(self, x):
        return self.layers[0](x)


class AttendsTwice(Attends):
    """What it takes is in the constructor to which it hands on the rest, by position, too."""

    def __init__(self, in_channels, *args, **kwargs):
        super().__init__(in_channels * 2, *args, **kwargs)

    def forward(self, x):
        return super().forward(torch.cat([x, x], dim=1))


class OfShape(nn.Module):
    """Of a shape, whose name begins as that of a layer does."""

    def __init__(self, normalized_shape):
        super().__init__()
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.weight = nn.Parameter(torch.ones(shape))

    def forward(self, x):
        return F.layer_norm(x, self.weight.shape, self.weight)


class Reversible(nn.Module):
    """Pairs of modules under names of one letter."""

    def __init__(self, blocks):
        super().__init__()
        self.blocks = nn.ModuleList([nn.ModuleList([f, g]) for f, g in blocks])

    def forward(self, x):
        for first, second in self.blocks:
            x = x + second(x + first(x))
        return x


@pytest.mark.parametrize(
    ("cls", "ranks"),
    [
        (AddBias, [2]),
        (DropsTwice, [3]),
        (AsksItsSettings, [4]),
        (Attends, [4]),
        (AttendsTwice, [4]),
        (OfShape, [3]),
        (Reversible, [2]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_class_is_built_by_what_it_does_with_its_arguments(cls: type[nn.Module], ranks: list[int]) -> None:
    subject = subject_of_class(cls)
    assert [tensor.dim() for tensor in subject.inputs(0).args] == ranks, subject.inferred_from
    subject.case(seed=1).run()


def test_a_number_of_a_column_is_a_small_one() -> None:
    assert "PicksFields([48, 32], 0, 0)(i64[" in subject_of_class(PicksFields).inferred_from


def test_an_item_that_forward_picks_makes_a_list() -> None:
    assert "[0.0, 0.0]" in subject_of_class(DropsTwice).inferred_from


class Missing:
    """Stands for what is not installed, and raises whatever is asked of it."""

    def __getattr__(self, name: str) -> object:
        raise AttributeError(name) if name.startswith(("__wrapped__", "pytest")) else ImportError(name)

    def __eq__(self, other: object) -> bool:
        raise ImportError("it is not installed")

    __hash__ = object.__hash__


Config = Missing()


class NeedsWhatIsMissing(nn.Module):
    def __init__(self, dim, config: dict):
        super().__init__()
        self.config = Config(**config)
        self.linear = nn.Linear(dim, dim)

    def forward(self, x):
        return self.linear(x)


def test_a_stand_in_for_what_is_not_installed_is_left_alone() -> None:
    assert "number" not in usages(NeedsWhatIsMissing)["dim"].kinds
