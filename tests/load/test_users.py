"""Roots first: a class is built and called as the class that uses it does."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from layersmith.load.attempt import Deadline
from layersmith.load.build import subject_of_class
from layersmith.load.strategy import Request
from layersmith.load.users import by_users, users_of


class Folded(nn.Module):
    """Nothing in it says that its input is 3 x 16 numbers wide."""

    def __init__(self, widths: Any, mode: Any) -> None:
        super().__init__()
        self.fc = nn.Linear(sum(widths), 1) if mode == "sum" else nn.Linear(1, 1)
        assert mode == "sum"

    def forward(self, state: Any) -> Any:
        return self.fc(torch.cat([state.a, state.b], -1))


class State:
    def __init__(self, a: Tensor, b: Tensor) -> None:
        self.a, self.b = a, b


class Root(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.inner = Folded([width, width], "sum")

    def forward(self, x: Tensor) -> Any:
        return self.inner(State(x[..., :8], x[..., 8:16]))


class Wrapper(nn.Module):
    """Calls a part that nobody knows: what is learnt from it is a guess."""

    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn
        self.part = Part(lambda x: x)

    def forward(self, x: Tensor) -> Any:
        return self.part(self.fn(x))


class Part(nn.Module):
    def __init__(self, key: Any) -> None:
        super().__init__()
        self.key = key

    def forward(self, x: Tensor) -> Any:
        return x * 2


class Heir(Root):
    pass


def test_the_users_of_a_class_name_it_and_do_not_inherit_from_it() -> None:
    assert [*users_of(Folded)] == [Root]
    assert Heir not in users_of(Root)


def test_a_class_is_called_as_its_user_calls_it() -> None:
    found = by_users(Request(Folded, Deadline.after(5)))
    assert found is not None
    assert found.how == "as Root builds and calls it"
    assert "Folded([8, 8], 'sum')" in found.notation
    assert found.inputs(0).call(found.build(0)).shape[-1] == 1


def test_what_a_guess_at_the_user_taught_is_a_guess() -> None:
    assert subject_of_class(Wrapper).doubt
    found = by_users(Request(Part, Deadline.after(5)))
    assert found is not None
    assert found.doubt


def test_inputs_that_the_user_gave_are_not_replaced() -> None:
    request = Request(Folded, Deadline.after(5), inputs=lambda _: never())
    assert by_users(request) is None


def never() -> Any:
    raise AssertionError("not asked for")


class Feed(nn.Module):
    """Elementwise: nothing in it says how many dimensions its input has."""

    def forward(self, x: Tensor) -> Tensor:
        return x.tanh() * 2


class Signal(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, 3, padding=1)
        self.feed = Feed()

    def forward(self, x: Tensor) -> Any:
        return self.feed(self.conv(x))


def test_a_class_that_takes_any_rank_gets_that_of_its_user() -> None:
    said = subject_of_class(Feed).inferred_from
    assert said.startswith("Feed()(f32[5,32,11]) as Signal builds and calls it"), said
