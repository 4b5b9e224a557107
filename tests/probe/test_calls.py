"""Calls are named by path and number, and every autograd node belongs to the call that made it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from layersmith.probe.calls import Call, traced


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
        self.alias = self.inner

    def forward(self, x: Tensor) -> Any:
        return self.alias(self.inner(x)) * 2


class CatchesItsPart(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fragile = nn.Linear(99, 3)
        self.sound = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Any:
        try:
            return self.fragile(x)
        except RuntimeError:
            return self.sound(x)


def test_calls_end_innermost_first_and_are_numbered_from_the_second() -> None:
    ended: list[str] = []
    with traced(module := Twice(), after=lambda call, _: ended.append(call.name)) as trace:
        module(torch.ones(1, 3))
    assert ended == ["inner.0", "inner.1", "inner", "inner.0#2", "inner.1#2", "inner#2", ""]
    assert list(trace.times_called) == ["", "inner", "inner.0", "inner.1"]


def test_a_node_belongs_to_the_innermost_call_that_was_running() -> None:
    x = torch.ones(1, 3, requires_grad=True) * 1
    with traced(module := Twice()) as trace:
        y = module(x)
    tanh = y.grad_fn.next_functions[0][0]
    nodes: list[Any] = [x.grad_fn, tanh, y.grad_fn, (y + 1).grad_fn]
    owners = [trace.owner(node) for node in nodes]
    assert [call.name for call in owners[1:3]] == ["inner.1#2", ""]
    assert owners[1].running == frozenset({"", "inner", "inner.1"})
    assert owners[0] == owners[3] == Call("", 0, frozenset({""}))


def test_a_part_that_raises_ends_too() -> None:
    ended = []
    module = CatchesItsPart()
    with traced(module, after=lambda call, output: ended.append((call.path, output is None))) as trace:
        module(torch.ones(1, 3))
    assert ended == [("fragile", True), ("sound", False), ("", False)]
    assert trace.current.number == 0
