"""A class that leaves to others what its own forward calls is abstract, not broken."""
# ruff: noqa: ANN001, ANN201, ANN204
# mypy: allow-untyped-defs, allow-untyped-calls, allow-incomplete-defs

from __future__ import annotations

import pytest
from torch import nn

from layersmith.load.build import subject_of_class
from layersmith.load.unbuildable import Unbuildable


class Augmentation(nn.Module):
    """Abstract: what its forward calls is left to others."""

    def apply_transform(self, x):
        raise NotImplementedError

    def forward(self, x):
        return self.apply_transform(x) if x.dim() else x


class Flip(Augmentation):
    def apply_transform(self, x):
        return x.flip(-1)


def test_a_class_whose_forward_calls_what_only_raises_is_abstract() -> None:
    with pytest.raises(Unbuildable, match="Augmentation is abstract: its forward calls apply_transform"):
        subject_of_class(Augmentation)
    assert subject_of_class(Flip).case().run() is not None


class Forgotten(nn.Module):
    """Not abstract: the method that raises is another module's."""

    def __init__(self):
        super().__init__()
        self.inner = Augmentation()

    def forward(self, x):
        return self.inner(x)


def test_a_class_that_uses_an_abstract_one_is_not_abstract_itself() -> None:
    with pytest.raises(Unbuildable, match="no way to call Forgotten was found"):
        subject_of_class(Forgotten)


class Kernel(nn.Module):
    """Abstract: its constructor calls what is left to others."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(self.kernel())

    def kernel(self):
        """The kernel of this filter."""
        raise NotImplementedError("of a base")

    def forward(self, x):
        return x * self.weight


def test_a_class_whose_constructor_calls_what_only_raises_is_abstract() -> None:
    with pytest.raises(Unbuildable, match="Kernel is abstract: its constructor calls kernel, which only"):
        subject_of_class(Kernel)


class Mixed(nn.Module):
    def __init__(self, augmentation: Augmentation, ratio: float = 0.5):
        super().__init__()
        self.augmentation, self.ratio = augmentation, ratio

    def forward(self, x):
        return x + self.ratio * self.augmentation(x)


def test_what_an_argument_leaves_to_others_is_written_by_one_that_inherits_from_it() -> None:
    assert subject_of_class(Mixed).inferred_from.startswith("Mixed(Flip())(")
