"""Signal and gradient over fifty layers, and how the weights that keep them are made."""

import math

import pytest
import torch
from torch import Tensor, nn

from layersmith.nn import FeedForward, Linear, ScaledReLU
from layersmith.nn.initialization import balance_

DEPTH = 50
LINEAR_ODD_PART = [
    nn.ReLU(),
    ScaledReLU(0.5),
    nn.LeakyReLU(),
    nn.GELU(),
    nn.SiLU(),
    nn.Hardswish(),
    nn.Softplus(),
]
CURVED_ODD_PART = [nn.Mish(), nn.ELU(), nn.SELU(), nn.Tanh(), nn.Sigmoid(), nn.Hardtanh(), nn.Softsign()]


def signals(model: FeedForward) -> tuple[list[float], list[float], list[float], list[float]]:
    """After each activation: std, rms and std over the batch alone, and the std of the gradient."""
    x, outputs = torch.randn(64, model.input_size), []
    for layer in model.layers:
        x = layer(x)
        if not isinstance(layer, Linear):
            x.retain_grad()
            outputs.append(x)
    (x * torch.randn_like(x)).sum().backward()
    gradients = [y.grad for y in outputs if y.grad is not None]
    return (
        [y.std().item() for y in outputs],
        [y.square().mean().sqrt().item() for y in outputs],
        [y.var(0).mean().sqrt().item() for y in outputs],
        [gradient.std().item() for gradient in gradients],
    )


def factor(values: list[float]) -> float:
    return max(max(values) / values[0], values[0] / min(values))


@pytest.mark.parametrize("activation", LINEAR_ODD_PART, ids=repr)
@pytest.mark.parametrize("width", [64, 65, 256])
def test_fifty_layers_keep_the_signal_exactly_where_the_odd_part_is_linear(
    activation: nn.Module, width: int
) -> None:
    for seed in range(2 if width < 100 else 1):
        torch.manual_seed(seed)
        std, rms, over_batch, gradient = signals(FeedForward(64, [width] * DEPTH, 10, activation))
        assert len(gradient) == DEPTH
        assert max(factor(std), factor(rms), factor(over_batch)) < 1.05
        assert factor(gradient) < 1.5  # the paths through f and through f(-.) share it unevenly


@pytest.mark.parametrize("activation", CURVED_ODD_PART, ids=repr)
@pytest.mark.parametrize("width", [64, 128])
def test_fifty_layers_keep_the_signal_within_a_factor_of_two(activation: nn.Module, width: int) -> None:
    for seed in range(2):
        torch.manual_seed(seed)
        std, rms, over_batch, gradient = signals(FeedForward(64, [width] * DEPTH, 10, activation))
        assert max(factor(std), factor(rms), factor(gradient)) < 1.8
        assert factor(over_batch) < 2 or isinstance(activation, nn.Softsign)


def test_independent_weights_of_the_same_size_would_not_keep_it() -> None:
    model = FeedForward(64, [64] * DEPTH, 10, nn.ReLU())
    torch.manual_seed(0)
    for layer in model.layers:
        if isinstance(layer, Linear):
            layer.reset_parameters()
            assert layer.gain == pytest.approx(math.sqrt(2)) or layer is model.layers[-1]
    assert factor(signals(model)[0]) > 2


def test_weights_have_the_size_that_the_gain_says() -> None:
    torch.manual_seed(0)
    model = FeedForward(30, [20, 40, 40, 25], 10, nn.ReLU())
    for layer in model.layers:
        if isinstance(layer, Linear) and layer is not model.layers[-1]:
            rms = layer.weight.square().mean().sqrt().item()
            assert rms == pytest.approx(math.sqrt(2 / layer.in_features), rel=0.06)
            assert not layer.get_parameter("bias").any()


def test_partners_have_opposite_weights_and_the_odd_one_out_is_not_read() -> None:
    first, second = Linear(4, 7), Linear(7, 6)
    balance_([first, second], nn.ReLU())
    assert torch.equal(first.weight[0:6:2], -first.weight[1:6:2])
    assert torch.equal(second.weight[:, 0:6:2], -second.weight[:, 1:6:2])
    assert torch.equal(second.weight[0::2], -second.weight[1::2])
    assert first.weight[6].any()
    assert not second.weight[:, 6].any()


@pytest.mark.parametrize("activation", [nn.Tanh(), nn.Sigmoid(), nn.Identity(), nn.PReLU(init=1.0)], ids=repr)
def test_units_of_an_odd_activation_are_no_pairs_since_they_would_stay_copies(activation: nn.Module) -> None:
    layers = [Linear(4, 6), Linear(6, 6)]
    balance_(layers, activation)
    weight = layers[1].weight / layers[1].weight.norm(dim=1, keepdim=True)
    torch.testing.assert_close(weight @ weight.mT, torch.eye(6))


@pytest.mark.parametrize("activation", [nn.Hardshrink(), nn.Threshold(0.1, 20.0)], ids=repr)
def test_an_activation_that_jumps_gets_finite_weights(activation: nn.Module) -> None:
    model = FeedForward(8, [8, 8], 2, activation)
    assert all(parameter.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("even", [lambda x: x.abs(), torch.cos])
def test_an_even_activation_is_balanced_too(even: object) -> None:
    class Even(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = even(x)  # type: ignore[operator]
            return output

    torch.manual_seed(0)
    std, _, _, gradient = signals(FeedForward(64, [128] * 5, 3, Even()))
    assert max(factor(std), factor(gradient)) < 2


def test_a_hidden_layer_of_one_unit_passes_a_signal() -> None:
    torch.manual_seed(0)
    model = FeedForward(4, [1, 1], 3, nn.Tanh())
    assert model(torch.randn(50, 4)).std(0).min() > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_any_precision_are_the_rounded_ones(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    rough = FeedForward(8, [6, 6], 2, nn.ELU(), dtype=dtype)
    exact = rough.get_parameter("layers.2.weight").double()[::2]  # of each pair the first
    lengths, products = exact.norm(dim=1, keepdim=True), exact @ exact.mT
    torch.testing.assert_close(products / lengths / lengths.mT, torch.eye(3).double(), rtol=0, atol=2e-2)


def test_nothing_is_drawn_on_the_meta_device() -> None:
    state = torch.get_rng_state()
    balance_([Linear(4, 4, device="meta")], nn.ReLU())
    balance_([], nn.ReLU())
    assert torch.equal(torch.get_rng_state(), state)
