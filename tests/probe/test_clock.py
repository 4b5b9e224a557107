"""Every second goes to the submodule whose work it was: shown on a clock that only work moves."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.autograd.graph import Node

from layersmith.errors import UsageError
from layersmith.finding import Measurement
from layersmith.probe import calls, clock
from layersmith.probe.clock import times
from layersmith.probe.inputs import Inputs


@dataclass
class Clock:
    """Time that passes only while a `Busy` module works; the tests never wait."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now

    def __deepcopy__(self, _memo: object) -> Clock:
        return self


class Work(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, time: Clock, forward: float, backward: float) -> Tensor:
        time.now += forward
        ctx.time, ctx.backward_seconds = time, backward
        return x + weight

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        ctx.time.now += ctx.backward_seconds
        return gradients[0], gradients[0].sum(0), None, None, None


apply: Any = Work.apply


class Busy(nn.Module):
    """Takes so long, forward and backward."""

    def __init__(self, time: Clock, forward: float, backward: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.time, self.forward_seconds, self.backward_seconds = time, forward, backward

    def forward(self, x: Tensor) -> Any:
        return apply(x, self.weight, self.time, self.forward_seconds, self.backward_seconds)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    fake = Clock()
    for module in (calls, clock):
        monkeypatch.setattr(module, "perf_counter", fake)
    return fake


X = Inputs.of(torch.ones(2, 3))
Table = dict[str, tuple[float | None, float | None]]


def table(module: nn.Module, inputs: Inputs = X) -> Table:
    """Forward and backward seconds by path."""
    found = times(module, inputs, seconds=0)
    values = {(m.name, m.where): m.value for m in found}
    paths = dict.fromkeys(m.where for m in found)
    return {
        path: (values.get(("forward_seconds", path)), values.get(("backward_seconds", path)))
        for path in paths
    }


def test_each_of_a_chain_gets_its_own_and_the_container_their_sum(time: Clock) -> None:
    module = nn.Sequential(nn.Sequential(Busy(time, 1, 20), Busy(time, 3, 40)), Busy(time, 5, 60))
    assert table(module) == {
        "": (9, 120),
        "0": (4, 60),
        "0.0": (1, 20),
        "0.1": (3, 40),
        "1": (5, 60),
    }


def test_branches_from_one_input_are_kept_apart(time: Clock) -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.v = (Busy(time, n, 10 * n) for n in (1, 2, 3))

        def forward(self, x: Tensor) -> Any:
            return x + self.q(x) * self.k(x) + self.v(x)

    inputs = Inputs.of(torch.ones(2, 3, requires_grad=True))
    assert table(Branches(), inputs) == {"": (6, 60), "q": (1, 10), "k": (2, 20), "v": (3, 30)}


def test_calls_of_one_submodule_add_up_and_its_container_keeps_the_rest(time: Clock) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = Busy(time, 1, 10)

        def forward(self, x: Tensor) -> Any:
            own = apply(x, torch.zeros(3), time, 5, 70)
            return self.part(self.part(own))

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.twice = Twice()
            self.last = Busy(time, 2, 3)

        def forward(self, x: Tensor) -> Any:
            return self.last(self.twice(x))

    inputs = Inputs.of(torch.ones(2, 3, requires_grad=True))
    assert table(Whole(), inputs) == {"": (9, 93), "twice": (7, 90), "twice.part": (2, 20), "last": (2, 3)}


def test_views_and_writes_in_place_do_not_move_time(time: Clock) -> None:
    module = nn.Sequential(
        Busy(time, 1, 10), nn.Unflatten(1, (3, 1)), nn.ReLU(inplace=True), nn.Flatten(), Busy(time, 2, 20)
    )
    found = table(module)
    assert (found["0"], found["2"], found["4"], found[""]) == ((1, 10), (0, 0), (2, 20), (3, 30))


def test_a_frozen_front_has_no_backward_and_the_next_has_its_own(time: Clock) -> None:
    module = nn.Sequential(Busy(time, 1, 10), Busy(time, 2, 20))
    module[0].requires_grad_(False)
    assert table(module) == {"": (3, 20), "0": (1, None), "1": (2, 20)}


def test_a_module_with_nothing_to_learn_still_has_a_backward(time: Clock) -> None:
    module = Busy(time, 1, 10).requires_grad_(False)
    assert table(module) == {"": (1, 10)}


def test_each_step_starts_without_gradients(time: Clock) -> None:
    class AddsToGradients(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(3))

        def forward(self, x: Tensor) -> Any:
            time.now += 1 if self.weight.grad is None else 100
            return x + self.weight

    assert table(AddsToGradients())[""] == (1, 0)


def test_the_user_s_hooks_are_part_of_a_submodule_s_time(time: Clock) -> None:
    def wait(*_: object) -> None:
        time.now += 7

    module = nn.Sequential(Busy(time, 1, 10))
    module[0].register_forward_pre_hook(wait)
    module[0].register_forward_hook(wait)
    assert table(module) == {"": (15, 10), "0": (15, 10)}


def test_the_trace_s_own_work_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    for module in (calls, clock):
        monkeypatch.setattr(module, "perf_counter", lambda: float(next(ticks)))
    found = table(nn.Sequential(nn.Sequential(nn.Identity())))
    # A stretch lasts one tick; two lie in the outer container before and after the inner, and so on.
    assert [found[path][0] for path in ("0.0", "0")] == [1, 3]


def test_an_output_without_gradient_has_no_backward(time: Clock) -> None:
    class Index(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = Busy(time, 1, 10)

        def forward(self, x: Tensor) -> Any:
            return self.part(x).argmax(-1)

    assert table(Index()) == {"": (1, None), "part": (1, None)}


def test_what_a_checkpoint_computes_again_is_backward_of_its_caller(time: Clock) -> None:
    class Recomputing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = nn.Sequential(Busy(time, 1, 10), nn.Tanh())

        def forward(self, x: Tensor) -> Any:
            from torch.utils.checkpoint import checkpoint

            return checkpoint(self.block, x, use_reentrant=False)

    found = table(Recomputing())
    assert found[""] == (1, 11)
    assert found["block"] == (1, 11)


@settings(max_examples=10, deadline=None)
@given(costs=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=5))
def test_the_leaves_add_up_to_the_whole(costs: list[tuple[int, int]]) -> None:
    time = Clock()
    with pytest.MonkeyPatch.context() as patch:
        for module in (calls, clock):
            patch.setattr(module, "perf_counter", time)
        found = table(nn.Sequential(*(Busy(time, *cost) for cost in costs)))
    assert [found[str(index)] for index in range(len(costs))] == costs
    assert found[""] == tuple(map(sum, zip(*costs, strict=True)))


@dataclass
class Slowing:
    """Forward takes longer by a second in each step."""

    time: Clock
    steps: list[int] = field(default_factory=list)

    def __deepcopy__(self, _memo: object) -> Slowing:
        return self

    def __call__(self, _module: nn.Module, _args: object) -> None:
        self.steps.append(1)
        self.time.now += len(self.steps)


def repeated(time: Clock, **options: Any) -> tuple[list[Measurement], int]:
    module = nn.Identity()
    slowing = Slowing(time)
    module.register_forward_pre_hook(slowing)
    return times(module, X, **options), len(slowing.steps)


def test_value_and_spread_are_median_and_half_the_interquartile_range(time: Clock) -> None:
    found, steps = repeated(time, seconds=0, repeats=5, warmup=1)
    assert steps == 2 * 6  # each round a plain and a hooked step, the whole in the plain one
    forward = next(m for m in found if m.name == "forward_seconds")
    # The warm-up round takes 1 + 2; the plain steps of the others 3, 5, 7, 9, 11.
    assert (forward.value, forward.spread, forward.unit, forward.where) == (7, 2, "s", "")


def test_it_repeats_until_the_time_is_spent(time: Clock) -> None:
    _, steps = repeated(time, seconds=100, repeats=1, warmup=0)
    assert steps == 14  # after 13 steps 91 seconds have passed, after 14 there are 105


def test_one_repeat_has_no_spread(time: Clock) -> None:
    found, _ = repeated(time, seconds=0, repeats=1, warmup=0)
    assert found[0].spread == 0


def test_another_device_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"times are taken on the CPU only; Linear .* on meta: move both"):
        times(nn.Linear(2, 2, device="meta"), Inputs.of(torch.ones(1, 2)))


def test_the_engine_runs_the_nodes_in_the_order_foretold() -> None:
    """What the attribution stands on, asked of torch itself, with branches, views and writes in place."""
    x = torch.randn(2, 3, requires_grad=True)
    left, right = x * 2, (x + 1).view(-1)
    right[:2].mul_(3)
    y = (left.tanh() + right.view(2, 3)).sum()
    ran: list[Node] = []
    alone = [x.exp(), x.sin()]
    ends = [alone[0], y, left, alone[1]]
    foretold = list(clock._engine_order(ends))
    for node in foretold:
        node.register_prehook(recording(ran, node))
    torch.autograd.backward(ends, [torch.ones_like(end) for end in ends])
    assert ran == foretold
    assert {"torch::autograd::CopySlices", "TanhBackward0"} < {node.name() for node in ran}


def recording(ran: list[Node], node: Node) -> Callable[[object], None]:
    return lambda _gradients: ran.append(node)
