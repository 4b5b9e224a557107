"""The mean-field picture against simulations of wide random networks, and against published numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from layersmith.errors import UsageError
from layersmith.probe.activation import elementwise
from layersmith.probe.mean_field import Phase, edge_of_chaos, mean_field, variance_map

WIDTH = 1500


def wide_stack(f: Callable[[Tensor], Tensor], gain: float, bias_std: float, depth: int) -> list[Tensor]:
    """Pre-activations [2 inputs, width] of each layer; the inputs have variance 1 and correlation 0.6."""
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(WIDTH, generator=generator)
    second = 0.6 * first + 0.8 * torch.randn(WIDTH, generator=generator)
    layers = [torch.stack([first, second]).requires_grad_()]
    for _ in range(depth):
        weight = torch.randn(WIDTH, WIDTH, generator=generator) * gain / WIDTH**0.5
        layers.append(f(layers[-1]) @ weight + bias_std * torch.randn(WIDTH, generator=generator))
        layers[-1].retain_grad()
    return layers


@pytest.mark.parametrize(
    ("name", "gain", "bias_std"),
    [("tanh", 1.3, 0.3), ("gelu", 1.6, 0.1), ("sin", 1.5, 0.0), ("relu", 1.2, 0.5)],
)
def test_the_variance_of_a_wide_network_follows_the_map(name: str, gain: float, bias_std: float) -> None:
    f = getattr(torch.nn.functional, name, None) or getattr(torch, name)
    step = variance_map(elementwise(f), weight_gain=gain, bias_std=bias_std)
    sizes = [float(layer.detach().square().mean()) for layer in wide_stack(f, gain, bias_std, 8)]
    for before, after in pairwise(sizes):
        assert after == pytest.approx(step(before), rel=0.15)


def test_the_gradient_of_a_wide_network_follows_chi() -> None:
    field = mean_field("tanh", weight_gain=2.0, bias_std=0.3)
    layers = wide_stack(torch.tanh, 2.0, 0.3, 16)
    layers[-1].backward(torch.randn(2, WIDTH, generator=torch.Generator().manual_seed(1)))
    sizes = [float(layer.grad.square().mean()) for layer in layers if layer.grad is not None]
    measured = math.log(sizes[4] / sizes[-1]) / 12
    assert measured == pytest.approx(math.log(field.chi), rel=0.1)
    assert field.gradient_depth == pytest.approx(1 / math.log(field.chi))
    assert field.phase is Phase.CHAOTIC


@pytest.mark.parametrize(("gain", "bias_std", "phase"), [(0.9, 0.5, "ordered"), (2.5, 0.5, "chaotic")])
def test_two_inputs_come_to_the_correlation_foretold(gain: float, bias_std: float, phase: str) -> None:
    field = mean_field("tanh", weight_gain=gain, bias_std=bias_std)
    end = wide_stack(torch.tanh, gain, bias_std, 25)[-1].detach()
    measured = float(torch.nn.functional.cosine_similarity(end[0], end[1], dim=0))
    assert field.phase == phase
    assert measured == pytest.approx(field.correlation, abs=0.06)
    assert float(end.square().mean()) == pytest.approx(field.variance, rel=0.1)


def test_differences_are_forgotten_at_the_depth_foretold() -> None:
    field = mean_field("tanh", weight_gain=1.0, bias_std=0.5)
    layers = [layer.detach() for layer in wide_stack(torch.tanh, 1.0, 0.5, 14)]
    apart = [float((layer[0] - layer[1]).square().mean()) for layer in layers]
    assert 8 / math.log(apart[4] / apart[12]) == pytest.approx(field.signal_depth, rel=0.15)


def test_the_edge_of_chaos_is_that_of_the_paper() -> None:
    field = edge_of_chaos("tanh", bias_std=math.sqrt(0.05))  # Schoenholz et al. 2017, section 3
    assert field.weight_gain**2 == pytest.approx(1.76, abs=0.01)
    assert field.chi == pytest.approx(1.0, abs=1e-6)
    assert field.phase is Phase.CRITICAL
    assert field.depth == math.inf


@pytest.mark.parametrize("name", ["relu", "tanh", "gelu", "silu", "sigmoid", "softplus", "elu", "erf", "sin"])
@pytest.mark.parametrize("bias_std", [0.1, 0.5])
def test_on_the_edge_nothing_is_forgotten(name: str, bias_std: float) -> None:
    try:
        field = edge_of_chaos(name, bias_std=bias_std)
    except UsageError as error:
        assert "no edge of chaos with biases" in str(error)  # noqa: PT017 - ReLU has one without biases only
        return
    assert field.chi == pytest.approx(1.0, abs=1e-3)


def test_relu_is_critical_at_the_gain_of_he_and_only_there() -> None:
    assert edge_of_chaos("relu").weight_gain == pytest.approx(math.sqrt(2))
    assert mean_field("relu", weight_gain=math.sqrt(2)).depth == math.inf
    small = mean_field("relu", weight_gain=3**-0.5)  # torch.nn.Linear as it starts
    assert (small.variance, small.phase) == (0.0, Phase.ORDERED)
    assert small.depth == pytest.approx(1 / math.log(6))
    large = mean_field("relu", weight_gain=2.0)
    assert (large.variance, large.phase) == (math.inf, Phase.CHAOTIC)
    assert large.depth == pytest.approx(1 / math.log(2))


@pytest.mark.parametrize(("gain", "bias_std"), [(0.0, 0.0), (-1.0, 0.0), (1.0, -0.1), (math.nan, 0.0)])
def test_spreads_that_are_none_are_refused(gain: float, bias_std: float) -> None:
    with pytest.raises(UsageError, match="must be positive"):
        mean_field("relu", weight_gain=gain, bias_std=bias_std)


def test_a_step_has_no_edge_of_chaos() -> None:
    with pytest.raises(UsageError, match="no edge of chaos"):
        edge_of_chaos("sign")
