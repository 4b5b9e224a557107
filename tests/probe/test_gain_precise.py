"""The gain of every activation against an independent integral of 30 digits, formulas written in mpmath."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import mpmath as mp
import pytest
import torch
from torch import Tensor, nn

from layersmith.probe.gain import Gain, gain

Formula = Callable[[Any], Any]
RIGHT = 1e-6


def relu(x: Any) -> Any:
    return max(x, mp.mpf(0))


def sigmoid(x: Any) -> Any:
    return 1 / (1 + mp.exp(-x))


def softplus(x: Any, beta: float = 1.0) -> Any:
    return mp.log1p(mp.exp(beta * x)) / beta if beta * x < 40 else x


def clip(x: Any, low: float, high: float) -> Any:
    return min(max(x, mp.mpf(low)), mp.mpf(high))


def elu(x: Any, alpha: float = 1.0) -> Any:
    return x if x > 0 else alpha * mp.expm1(x)


def tanh_gelu(x: Any) -> Any:
    return x / 2 * (1 + mp.tanh(mp.sqrt(2 / mp.pi) * (x + mp.mpf("0.044715") * x**3)))


class CustomReLU(nn.Module):
    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * torch.clamp(x, min=0)


class LearntSwish(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.tensor(1.5))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.beta * x)


class SquaredReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.relu().square()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grads[0] * 2 * x.relu()


# The activation, its formula, and where the formula has its kinks and jumps.
CASES: list[tuple[Any, Formula, list[float]]] = [
    (nn.ELU(), elu, [0]),
    (nn.ELU(1.7, inplace=True), lambda x: elu(x, 1.7), [0]),
    (nn.Hardshrink(), lambda x: x if abs(x) > 0.5 else mp.mpf(0), [-0.5, 0.5]),
    (nn.Hardshrink(0.333), lambda x: x if abs(x) > 0.333 else mp.mpf(0), [-0.333, 0.333]),
    (nn.Hardsigmoid(), lambda x: clip(x / 6 + 0.5, 0, 1), [-3, 3]),
    (nn.Hardtanh(), lambda x: clip(x, -1, 1), [-1, 1]),
    (nn.Hardtanh(-0.37, 0.71), lambda x: clip(x, -0.37, 0.71), [-0.37, 0.71]),
    (nn.Hardswish(), lambda x: x * clip(x / 6 + 0.5, 0, 1), [-3, 3]),
    (nn.LeakyReLU(), lambda x: x if x > 0 else 0.01 * x, [0]),
    (nn.LeakyReLU(-0.7), lambda x: x if x > 0 else -0.7 * x, [0]),
    (nn.LogSigmoid(), lambda x: -softplus(-x), []),
    (nn.PReLU(), lambda x: x if x > 0 else 0.25 * x, [0]),
    (nn.PReLU(init=1.3), lambda x: x if x > 0 else mp.mpf(1.2999999523162842) * x, [0]),
    (nn.ReLU(), relu, [0]),
    (nn.ReLU6(), lambda x: clip(x, 0, 6), [0, 6]),
    (nn.RReLU(), lambda x: x if x > 0 else x * (mp.mpf(1) / 8 + mp.mpf(1) / 3) / 2, [0]),
    (nn.SELU(), lambda x: mp.mpf("1.0507009873554804934") * elu(x, mp.mpf("1.6732632423543772848")), [0]),
    (nn.CELU(0.3), lambda x: x if x > 0 else 0.3 * mp.expm1(x / 0.3), [0]),
    (nn.GELU(), lambda x: x * mp.ncdf(x), []),
    (nn.GELU(approximate="tanh"), tanh_gelu, []),
    (nn.Sigmoid(), sigmoid, []),
    (nn.SiLU(), lambda x: x * sigmoid(x), []),
    (nn.Mish(), lambda x: x * mp.tanh(softplus(x)), []),
    (nn.Softplus(), softplus, []),
    (nn.Softplus(beta=7.0, threshold=3.0), lambda x: x if 7 * x > 3 else softplus(x, 7.0), [3 / 7]),
    (nn.Softshrink(0.2), lambda x: mp.sign(x) * max(abs(x) - 0.2, mp.mpf(0)), [-0.2, 0.2]),
    (nn.Softsign(), lambda x: x / (1 + abs(x)), [0]),
    (nn.Tanh(), mp.tanh, []),
    (nn.Tanhshrink(), lambda x: x - mp.tanh(x), []),
    (nn.Threshold(0.1, 20.0), lambda x: x if x > 0.1 else mp.mpf(20), [0.1]),
    (CustomReLU(0.5), lambda x: relu(x) / 2, [0]),
    (LearntSwish(), lambda x: x * sigmoid(1.5 * x), []),
    (SquaredReLU.apply, lambda x: relu(x) ** 2, [0]),
    (lambda x: x + torch.sin(3 * x) ** 2 / 3, lambda x: x + mp.sin(3 * x) ** 2 / 3, []),  # Snake
    (
        lambda x: torch.where(x < -0.77, x.exp(), x.cos()),
        lambda x: mp.exp(x) if x < -0.77 else mp.cos(x),
        [-0.77],
    ),
    (lambda x: torch.exp(-x.square()), lambda x: mp.exp(-(x**2)), []),
    (lambda x: 1 / (1 + x.abs() ** 3), lambda x: 1 / (1 + abs(x) ** 3), [0]),
    (lambda x: x * torch.erf(x.exp()), lambda x: x * mp.erf(mp.exp(x)), []),
]


def moment(function: Formula, kinks: list[float]) -> float:
    edges = sorted({-12.0, *kinks, 12.0, *range(-11, 12, 2)})
    with mp.workdps(20):
        return float(mp.quad(lambda x: function(x) * mp.npdf(x), edges))


def slope(formula: Formula) -> Formula:
    step = mp.mpf("1e-12")

    def central(x: Any) -> Any:
        with mp.workdps(40):
            return (formula(x + step) - formula(x - step)) / (2 * step)

    return central


def label(value: object) -> str:
    """A test's name, which must not hold the address of a function."""
    return re.sub(r"\bat 0x\w+", "", str(value))[:30]


@pytest.mark.parametrize(("activation", "formula", "kinks"), CASES, ids=label)
def test_gain_and_mean_are_right_to_a_millionth(
    activation: Any, formula: Formula, kinks: list[float]
) -> None:
    found = gain(activation)
    assert found == pytest.approx(moment(lambda x: formula(x) ** 2, kinks) ** -0.5, rel=RIGHT)
    assert found.mean == pytest.approx(moment(formula, kinks), rel=RIGHT, abs=RIGHT)
    assert found.standard_error == 0


JUMPING = {"Hardshrink", "Threshold", "Softplus"}  # a central difference sees the jump, autograd does not


@pytest.mark.parametrize(
    ("activation", "formula", "kinks"),
    [case for case in CASES[::3] if type(case[0]).__name__ not in JUMPING],
    ids=label,
)
def test_the_backward_gain_is_right_to_a_millionth(
    activation: Any, formula: Formula, kinks: list[float]
) -> None:
    expected = moment(lambda x: slope(formula)(x) ** 2, kinks) ** -0.5
    assert gain(activation).backward == pytest.approx(expected, rel=RIGHT)


def test_every_elementwise_activation_of_torch_is_among_the_cases() -> None:
    mixing = {"MultiheadAttention", "GLU", "Softmax", "Softmax2d", "Softmin", "LogSoftmax"}
    known = set(nn.modules.activation.__all__) - mixing
    assert known <= {type(activation).__name__ for activation, _, _ in CASES}


@pytest.mark.parametrize(("mean", "std"), [(0.3, 2.0), (-1.1, 0.4)])
def test_another_mean_and_spread_shift_the_integral(mean: float, std: float) -> None:
    found = gain("softplus", mean=mean, std=std)
    with mp.workdps(20):
        expected = mp.quad(lambda z: softplus(mean + std * z) ** 2 * mp.npdf(z), [-12, -4, 0, 4, 12])
    assert found == pytest.approx(float(expected) ** -0.5, rel=RIGHT)


def test_the_share_of_zeros_is_a_probability() -> None:
    assert gain("relu").share_of_zeros == pytest.approx(0.5, abs=1e-9)
    assert gain(nn.Hardshrink(0.5)).share_of_zeros == pytest.approx(math.erf(0.5 / math.sqrt(2)), abs=1e-9)
    assert gain("gelu").share_of_zeros < 1e-9


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        # Halves a and b of a row: E (a sigmoid(b))^2 = E sigmoid(b)^2.
        (nn.GLU(), moment(lambda x: sigmoid(x) ** 2, []) ** -0.5),
        (lambda x: x.chunk(2, -1)[0] * nn.functional.silu(x.chunk(2, -1)[1]), float(gain("silu"))),
        (nn.LayerNorm(16), 1.0),
        (nn.PReLU(3), math.sqrt(2 / 1.0625)),
        (lambda x: x.unflatten(-1, (-1, 2)).amax(-1), 1.0),  # maxout of two: E max(a, b)^2 = 1
    ],
    ids=["GLU", "SwiGLU", "LayerNorm", "PReLU(3)", "maxout"],
)
def test_what_mixes_features_is_sampled_and_its_error_is_told(activation: Any, expected: float) -> None:
    found = gain(activation)
    assert "not elementwise" in found.note
    assert 0 < found.standard_error < 0.02 * found
    assert abs(found - expected) < 5 * found.standard_error + 1e-4  # LayerNorm's eps


def test_a_gain_is_a_number_that_tells_more() -> None:
    found = gain("ReLU")
    assert isinstance(found, float)
    assert isinstance(found, Gain)
    assert found / 2 == pytest.approx(math.sqrt(0.5))
    assert found.share_of_zeros == pytest.approx(0.5)
    assert "share_of_zeros=0." in repr(found)


@pytest.mark.parametrize(
    "name", ["leaky_relu", "LeakyReLU", "leakyrelu", "swish", "hard-swish", "sin", "erf"]
)
def test_a_name_is_understood_in_any_spelling(name: str) -> None:
    assert gain(name) > 0
