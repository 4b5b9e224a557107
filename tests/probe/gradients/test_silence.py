"""No false alarms: every module of torch.nn, kinks, offsets, rounding inside, randomness."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from catalogue import NOT_COVERED, covered  # type: ignore[import-not-found]
from torch import Tensor, nn

from layersmith.probe.gradients import Mode, gradients

COVERED = covered()


def test_every_class_of_torch_nn_is_listed() -> None:
    classes = {name for name, cls in vars(nn).items() if inspect.isclass(cls) and issubclass(cls, nn.Module)}
    assert classes <= COVERED.keys() | NOT_COVERED.keys()


@pytest.mark.parametrize("name", COVERED)
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_torch_nn_is_right(name: str, training: bool) -> None:
    if not hasattr(nn, name):
        pytest.skip("this torch has no such module")
    build, inputs = COVERED[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module, call = build().train(training), inputs()
    report = gradients(module, call)
    assert report.ok, report
    assert report.judged, report


class Of(nn.Module):
    """A function of `x * weight`, the weight all ones."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(8))
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x * self.weight)


def whole() -> Tensor:
    return torch.randint(-2, 3, (16, 8)).float()


def _half(x: Tensor) -> Tensor:
    return torch.tanh(x.float()).to(x.dtype)


def _draws(x: Tensor) -> Tensor:
    return x * float(np.random.rand()) + torch.rand(())


HEALTHY: dict[str, tuple[Callable[[Tensor], Any], Callable[[], Tensor]]] = {
    "relu at zero": (torch.relu, whole),
    "abs and clamp at their kinks": (lambda z: z.abs() + z.clamp(-1, 1), whole),
    "ties in a maximum": (lambda z: z.amax(1), whole),
    "sort": (lambda z: z.sort(1)[0][:, :3], lambda: torch.randn(16, 8)),
    "stiff softmax": (lambda z: (100 * z).softmax(1), lambda: torch.randn(16, 8)),
    "exp of much": (lambda z: z.mul(20).exp(), lambda: torch.randn(16, 8)),
    "norm of zero": (lambda z: z.norm(dim=1), lambda: torch.zeros(4, 8)),
    "norm of a zero that stays zero": (lambda z: (z - z).norm(dim=1), lambda: torch.zeros(4, 8)),
    "normalised zero": (nn.functional.normalize, lambda: torch.zeros(4, 8)),
    "large output": (lambda z: z.sum(1) + 1e6, lambda: torch.randn(16, 8)),
    "variance of large input": (lambda z: z.var(1), lambda: torch.randn(16, 8) + 1e6),
    "step function": (torch.round, lambda: torch.randn(16, 8)),
    "float32 inside": (_half, lambda: torch.randn(16, 8)),
    "masked with -inf": (
        lambda z: z.masked_fill(torch.eye(4, 8).bool(), float("-inf")),
        lambda: torch.randn(4, 8),
    ),
    "several outputs, one detached": (lambda z: (z.sin(), {"aux": z.detach()}), lambda: torch.randn(4, 8)),
    "complex inside": (lambda z: torch.fft.rfft(z).abs(), lambda: torch.randn(4, 8)),
    "complex out": (torch.fft.rfft, lambda: torch.randn(4, 8)),
    "random numbers of two libraries": (_draws, lambda: torch.randn(4, 8)),
    "in place": (lambda z: z.mul_(2).relu_(), lambda: torch.randn(4, 8)),
    "stable logsumexp": (
        lambda z: (z - z.amax(1, keepdim=True).detach()).logsumexp(1) + z.amax(1).detach(),
        lambda: torch.randn(4, 8),
    ),
    "checkpoint": (
        lambda z: torch.utils.checkpoint.checkpoint(torch.tanh, z, use_reentrant=True),
        lambda: torch.randn(4, 8),
    ),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_functions_are_right(name: str) -> None:
    function, inputs = HEALTHY[name]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        call = inputs()
    report = gradients(Of(function), call)
    assert report.ok, report
    assert report.judged, report


def test_float32_inside_is_said() -> None:
    report = gradients(Of(_half), torch.randn(4, 8, generator=torch.Generator().manual_seed(0)))
    assert "float32 inside (test_silence.py:" in report.notes[0]


def test_a_module_that_does_not_repeat_itself_is_not_judged() -> None:
    state = {"calls": 0.0}

    def counting(z: Tensor) -> Tensor:
        state["calls"] += 1
        return z * state["calls"]

    report = gradients(Of(counting), torch.ones(2, 8))
    assert report.ok
    assert not report.judged
    assert "differ" in report.notes[0]


def test_a_module_that_keeps_state_is_judged_from_the_same_state_each_time() -> None:
    class Keeps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.calls = nn.Linear(3, 3), 0
            self.hidden: Tensor | None = None

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.linear(x) if self.hidden is None else self.linear(x) + self.hidden
            self.hidden, self.calls = y.detach(), self.calls + 1
            return y * self.calls

    report = gradients(Keeps(), torch.ones(2, 3))
    assert report.ok
    assert report.judged


@pytest.mark.parametrize(
    ("module", "inputs", "why"),
    [
        (nn.Identity(), torch.arange(3), "no floating input"),
        (Of(lambda z: z.argmax()), torch.ones(2, 8), "no floating or complex"),
        (Of(lambda z: z.detach().floor()), torch.ones(2, 8) / 2, "no output carries a gradient"),
        (Of(lambda z: z / 0), torch.ones(2, 8), "nowhere finite"),
        (nn.Linear(3, 2), torch.ones(2, 8), "forward raises RuntimeError"),
    ],
    ids=["integers in", "integers out", "constant", "not finite", "raises"],
)
def test_what_cannot_be_judged_says_why(module: nn.Module, inputs: Tensor, why: str) -> None:
    report = gradients(module, inputs)
    assert report.ok
    assert not report.judged
    assert why in report.legs[0].why


def test_a_forward_under_no_grad_is_not_an_error() -> None:
    class Decodes(nn.Module):
        @torch.no_grad()
        def forward(self, x: Tensor) -> Tensor:
            return 2 * x

    report = gradients(Decodes(), torch.ones(2, 2))
    assert report.ok
    assert "no_grad" in report.legs[0].why


def test_hard_coded_float32_is_examined_in_float32() -> None:
    class Hard(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x @ torch.ones(3, 3, dtype=torch.float32)

    report = gradients(Hard(), torch.ones(2, 3))
    assert report.ok
    assert report.dtype == "float32"
    assert "examined in float32" in report.notes[0]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("mode", ["quick", "full"])
def test_a_large_offset_of_the_input_is_not_an_error(seed: int, mode: Mode) -> None:
    x = torch.randn(16, 8, generator=torch.Generator().manual_seed(seed)) + 1e6
    assert gradients(nn.LayerNorm(8), x, seed=seed, mode=mode).ok
