"""What is forgotten beside a twin, read from the source."""

from __future__ import annotations

from torch import Tensor, nn

from layersmith.probe import twins


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.key = nn.Linear(6, 6)
        self.value = nn.Linear(6, 6)
        self.before = nn.ModuleList([nn.Linear(6, 6)])
        self.after = nn.ModuleList([nn.Linear(6, 6)])

    def reset_parameters(self) -> None:
        """Start all of it, or so it seems."""
        self.key.reset_parameters()
        self.value.reset_parameters()
        for layer in self.before:
            layer.reset_parameters()  # type: ignore[operator]
        for layer in self.before:
            layer.reset_parameters()  # type: ignore[operator]

    def forward(self, x: Tensor) -> Tensor:
        x = self.key(x) * self.key(x.relu())
        for layer in [*self.before, *self.after]:
            x = layer(x)
        return x


class Once(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.key = nn.Linear(6, 6)
        self.value = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.key(x) * self.value(self.key(x))


def test_a_twin_that_is_called_twice_stands_for_the_one_that_never_is() -> None:
    assert [f"{one.name} for {one.twin}" for one in twins.never_called(Twice)] == ["value for key"]


def test_what_is_called_is_not_forgotten() -> None:
    assert [*twins.never_called(Once)] == []


def test_a_statement_that_stands_twice_left_its_twin_out() -> None:
    assert [f"{one.name} for {one.twin}" for one in twins.never_reset(Twice)] == ["after for before"]
