"""What an error of forward asks for: a longer list of sizes, the option that an inner module unpacks."""
# ruff: noqa: ANN001, ANN201, ANN204
# mypy: ignore-errors

from __future__ import annotations

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
