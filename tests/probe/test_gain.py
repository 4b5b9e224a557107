"""The gain against closed forms and against sums over a fine grid, written without torch."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from layersmith.errors import UsageError
from layersmith.nn import ScaledReLU
from layersmith.probe.gain import backward_gain, gain
from layersmith.probe.quadrature import expectation

Array = NDArray[np.float64]
STEP = 1e-4
# Midpoints of cells whose edges are the multiples of STEP: a kink there costs a midpoint rule nothing.
X: Array = (np.arange(-120_000, 120_000, dtype=np.float64) + 0.5) * STEP
ERF = np.array([math.erf(x / math.sqrt(2)) for x in X])


def by_grid(values: Array) -> float:
    return float(1 / np.sqrt(np.sum(values**2 * np.exp(-(X**2) / 2)) * STEP / math.sqrt(2 * math.pi)))


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def elu(x: Array, alpha: float = 1.0) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(x))


REFERENCES: list[tuple[nn.Module, Array]] = [
    (nn.ReLU(), np.maximum(X, 0)),
    (nn.Tanh(), np.tanh(X)),
    (nn.Sigmoid(), sigmoid(X)),
    (nn.GELU(), X * (1 + ERF) / 2),
    (nn.SiLU(), X * sigmoid(X)),
    (nn.Mish(), X * np.tanh(np.log1p(np.exp(X)))),
    (nn.Softplus(), np.log1p(np.exp(X))),
    (nn.Softsign(), X / (1 + np.abs(X))),
    (nn.Tanhshrink(), X - np.tanh(X)),
    (nn.ELU(), elu(X)),
    (nn.ELU(alpha=1.7), elu(X, 1.7)),
    (nn.SELU(), 1.0507009873554805 * elu(X, 1.6732632423543772)),
    (nn.ReLU6(), np.clip(X, 0, 6)),
    (nn.Hardtanh(), np.clip(X, -1, 1)),
    (nn.Hardtanh(-0.37, 0.71), np.clip(X, -0.37, 0.71)),
    (nn.Hardsigmoid(), np.clip(X / 6 + 0.5, 0, 1)),
    (nn.Hardswish(), X * np.clip(X / 6 + 0.5, 0, 1)),
    (nn.Softshrink(), np.sign(X) * np.maximum(np.abs(X) - 0.5, 0)),
    (nn.Hardshrink(0.333), np.where(np.abs(X) > 0.333, X, 0)),
    (nn.Threshold(0.1, 20.0), np.where(X > 0.1, X, 20.0)),
    (nn.PReLU(init=0.3), np.where(X > 0, X, 0.3 * X)),
]


@pytest.mark.parametrize(("activation", "values"), REFERENCES, ids=lambda value: str(value)[:24])
def test_the_gain_is_that_of_a_sum_over_a_fine_grid(activation: nn.Module, values: Array) -> None:
    assert gain(activation) == pytest.approx(by_grid(values), abs=1e-8)


@pytest.mark.parametrize(
    ("activation", "slope"),
    [
        (nn.Tanh(), 1 - np.tanh(X) ** 2),
        (nn.Sigmoid(), sigmoid(X) * (1 - sigmoid(X))),
        (nn.ELU(inplace=True), np.where(X > 0, 1, np.exp(X))),
        (nn.GELU(), (1 + ERF) / 2 + X * np.exp(-(X**2) / 2) / math.sqrt(2 * math.pi)),
        (nn.Hardtanh(-0.37, 0.71), np.where((X > -0.37) & (X < 0.71), 1.0, 0.0)),
    ],
    ids=lambda value: str(value)[:24],
)
def test_the_backward_gain_is_that_of_the_derivative(activation: nn.Module, slope: Array) -> None:
    assert backward_gain(activation) == pytest.approx(by_grid(slope), abs=1e-8)


@pytest.mark.parametrize(
    ("activation", "closed_form"),
    [
        (nn.ReLU(), math.sqrt(2)),
        (nn.ReLU(inplace=True), math.sqrt(2)),
        (ScaledReLU(0.5), 2 * math.sqrt(2)),
        (nn.SELU(), 1.0),
        (nn.LeakyReLU(0.2), math.sqrt(2 / 1.04)),
        (nn.Identity(), 1.0),
        (nn.Dropout(0.9), 1.0),  # as in eval
        (nn.Sequential(nn.ReLU(), nn.Dropout()), math.sqrt(2)),
        (torch.relu, math.sqrt(2)),
        (torch.exp, math.exp(-1)),
        (lambda x: x.abs() ** -0.25, (2 * math.pi**2) ** 0.125 / math.gamma(0.25) ** 0.5),
        (torch.sin, math.sqrt(2 / (1 - math.exp(-2)))),
        (lambda x: x**3, 1 / math.sqrt(15)),
        (lambda x: x > 0, math.sqrt(2)),
        (lambda x: nn.functional.relu(x.float()), math.sqrt(2)),
    ],
)
def test_the_gain_is_the_closed_form(activation: Callable[[Tensor], Tensor], closed_form: float) -> None:
    assert gain(activation) == pytest.approx(closed_form, abs=1e-7)


def test_an_activation_that_rounds_to_bfloat16_has_the_gain_to_its_rounding() -> None:
    assert gain(lambda x: nn.functional.silu(x.bfloat16())) == pytest.approx(
        gain(nn.functional.silu), abs=1e-3
    )


@settings(max_examples=20, deadline=None)
@given(st.floats(-3, 3))
def test_a_jump_anywhere_is_found(where: float) -> None:
    share = math.erfc(where / math.sqrt(2)) / 2
    assert expectation(lambda z: (z > where).double()) == pytest.approx(share, abs=1e-8)


@settings(max_examples=10, deadline=None)
@given(st.floats(-3, 2), st.floats(0.01, 1), st.floats(0.1, 10))
def test_a_factor_divides_the_gain_wherever_the_kinks_are(low: float, width: float, factor: float) -> None:
    clip = nn.Hardtanh(low, low + width)
    assert gain(lambda x: factor * clip(x)) == pytest.approx(gain(clip) / factor, rel=1e-7)


@pytest.mark.parametrize(
    ("activation", "why"),
    [
        (
            lambda x: x - x.mean(0),
            "depends on the others, .* nor can it be sampled: its rows depend on each other",
        ),
        (lambda x: x.cumsum(0), "depends on the others"),
        (nn.functional.dropout, "on chance"),
        ("gelo", "no activation named 'gelo' .* GELU"),
        ("nothing", "no activation named"),
        (nn.Bilinear(2, 2, 2), "nor can it be sampled: it takes no row"),
        (nn.PReLU(device="meta"), "weight is on the meta device"),
        (lambda x: x.mean(), "it makes \\[\\]"),
        (lambda x: x.repeat(2), "it makes \\[128\\]"),
        (lambda x: 0 * x, "zero everywhere"),
        (lambda x: 1 / x, "infinite"),
        (lambda x: torch.exp(x**2 / 2), "infinite"),
        (torch.log, "not a number"),
    ],
)
def test_what_has_no_gain_is_refused_with_the_reason(
    activation: Callable[[Tensor], Tensor], why: str
) -> None:
    with pytest.raises(UsageError, match=why):
        gain(activation)


@pytest.mark.parametrize("std", [0.0, -1.0, math.inf, math.nan])
def test_a_spread_that_is_none_is_refused(std: float) -> None:
    with pytest.raises(UsageError, match="a positive std"):
        gain("relu", std=std)


def test_a_step_has_no_backward_gain() -> None:
    with pytest.raises(UsageError, match=r"the derivative of .* zero everywhere"):
        backward_gain(lambda x: (x > 0).double())
    with pytest.raises(UsageError, match="zero everywhere"):
        backward_gain(torch.sign)


def test_the_module_and_the_random_state_stay_as_they_are() -> None:
    activation = nn.Sequential(nn.PReLU(), nn.RReLU(inplace=True)).train()
    before, weight = torch.get_rng_state(), activation[0].weight
    backward_gain(activation)
    assert torch.equal(torch.get_rng_state(), before)
    assert activation.training
    assert activation[0].weight is weight
    assert weight.dtype is torch.float32
    assert weight.grad is None


@pytest.mark.parametrize("surroundings", [torch.no_grad, torch.inference_mode, lambda: torch.device("meta")])
def test_the_callers_modes_do_not_matter(surroundings: Callable[[], torch.no_grad]) -> None:
    with surroundings():
        assert backward_gain(nn.Tanh()) == pytest.approx(1.467413591631)
