"""Full mode: every leg catches its error, names it, and says why when it is not run."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from catalogue import covered  # type: ignore[import-not-found]
from planted import FIRST_ORDER, FULL_ONLY, apply, plant  # type: ignore[import-not-found]
from torch import Tensor, nn

from layersmith.probe.gradients import Mode, gradients

MODES: tuple[Mode, ...] = ("quick", "full")

LEG = {
    "|x|>3": "inputs x4",
    "float32": "float32",
    "non-contiguous": "grad_output scattered",
    "expanded": "grad_output expanded",
    "undefined wrong": "grad_output undefined",
    "undefined raises": "grad_output undefined",
    "double backward": "second order",
    "jvp": "jvp",
    "frozen weight": "weights frozen",
}
ONLY_FULL = ("|x|>3", "float32")  # the other legs are run in quick mode too where a Function takes part
COVERED = covered()
TORCH_IS_WRONG = {
    "MaxUnpool2d": "its backward refuses non-contiguous inputs that its forward accepts",
    "NLLLoss2d": "its backward refuses non-contiguous inputs that its forward accepts",
}


@pytest.mark.parametrize("error", FIRST_ORDER)
def test_full_mode_catches_what_quick_mode_catches(error: str) -> None:
    assert not gradients(*plant(error, n=16), mode="full").ok


@pytest.mark.parametrize("error", FULL_ONLY)
def test_each_leg_catches_its_error(error: str) -> None:
    module, inputs = plant(error, n=16, rows=4)
    if error == "|x|>3":
        inputs = (inputs[0].clamp(-2, 2),)
    assert gradients(module, inputs).ok is (error in ONLY_FULL)
    for mode in MODES[error in ONLY_FULL :]:
        report = gradients(module, inputs, mode=mode)
        assert LEG[error] in {found.leg for found in report.errors}
        assert all(found.function.endswith(".backward") for found in report.errors)


@pytest.mark.parametrize("name", [name for name in COVERED if name not in TORCH_IS_WRONG])
def test_torch_nn_is_right(name: str) -> None:
    if not hasattr(nn, name):
        pytest.skip("this torch has no such module")
    build, inputs = COVERED[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module, call = build(), inputs()
    report = gradients(module, call, mode="full")
    assert report.ok, report


@pytest.mark.parametrize("name", TORCH_IS_WRONG)
def test_what_is_wrong_in_torch_itself_is_only_its_layouts(name: str) -> None:
    build, inputs = COVERED[name]
    report = gradients(build(), inputs(), mode="full")
    assert {found.leg for found in report.errors} <= {"inputs scattered"}


def test_every_leg_that_is_not_run_says_why() -> None:
    report = gradients(nn.Linear(4, 3), torch.ones(2, 4), mode="full")
    assert report.ok
    skipped = {leg.name: leg.why for leg in report.legs if leg.outcome == "not run"}
    assert set(skipped) == {"grad_output undefined", "buffers", "jvp"}
    assert all(skipped.values())


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.exp()

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[no-untyped-call, untyped-decorator, unused-ignore]
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        out: Tensor = grad * x.exp()
        return out


def test_once_differentiable_is_a_reason_not_an_error() -> None:
    class Exponential(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return apply(Once, x)

    report = gradients(Exponential(), torch.ones(2, 3), mode="full")
    assert report.ok
    (why,) = (leg.why for leg in report.legs if leg.name == "second order")
    assert "not differentiable" in why


class Filter(nn.Module):
    """A fixed filter in a buffer, its gradient right or doubled."""

    taps: Tensor

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.register_buffer("taps", torch.tensor([1.0, 2.0, 1.0]))
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        taps = self.taps * self.factor - self.taps.detach() * (self.factor - 1)
        return x * taps


def test_a_buffer_that_backward_reaches_is_examined() -> None:
    assert gradients(Filter(1.0), torch.ones(2, 3), mode="full").ok
    (found,) = gradients(Filter(2.0), torch.ones(2, 3), mode="full").errors
    assert (found.tensor, found.leg, found.kind) == ("taps", "buffers", "whole tensor x2")


def test_an_error_of_float32_only_is_told_from_a_stiff_function() -> None:
    class Stiff(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (300 * x).softmax(1)

    x = torch.randn(16, 8, generator=torch.Generator().manual_seed(0))
    assert gradients(Stiff(), x, mode="full").ok
