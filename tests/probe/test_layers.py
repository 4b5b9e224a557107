"""The layers of a module as its operations show them, whatever its names and style."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from layersmith.probe.followed import Layer
from layersmith.probe.gain import gain
from layersmith.probe.inputs import Inputs
from layersmith.probe.layers import layers


def found(module: nn.Module, *shape: int) -> dict[str, Layer]:
    return {layer.weight: layer for layer in layers(module, Inputs.of(torch.randn(*shape)))}


class Written(nn.Module):
    """The tutorial's product, and activations as expressions."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(6, 5))
        self.offset = nn.Parameter(torch.randn(5))
        self.second = nn.Linear(5, 4)
        self.third = nn.Linear(4, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = 0.5 * torch.clamp(x @ self.weights + self.offset, min=0)
        x = self.second(x)
        x = x * torch.sigmoid(1.7 * x)
        return self.third(x).relu_()


def test_orientation_bias_fan_in_and_reader_are_read_off_the_operations() -> None:
    first, second, third = found(Written(), 3, 6).values()
    assert (first.weight, first.bias, first.fan_in, first.is_input_first) == ("weights", "offset", 6, True)
    assert (second.weight, second.bias, second.fan_in, second.is_input_first) == (
        "second.weight",
        "second.bias",
        5,
        False,
    )
    assert (third.bias, third.fan_in) == ("", 4)
    assert first.reads is None
    assert second.reads is first
    assert third.reads is second


def test_what_follows_can_be_computed_again() -> None:
    first, second, third = found(Written(), 3, 6).values()
    z = torch.linspace(-3, 3, 13, dtype=torch.float64)
    assert torch.equal(first.expression(z), 0.5 * z.clamp(min=0))
    assert torch.equal(second.expression(z), z * torch.sigmoid(1.7 * z))
    assert torch.equal(third.expression(z), z.relu())
    assert torch.equal(z, torch.linspace(-3, 3, 13, dtype=torch.float64))  # in place only on copies
    assert gain(first.expression) == pytest.approx(gain("relu") * 2)


def test_a_learnt_slope_counts_at_its_present_value() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.PReLU(init=0.4), nn.Linear(4, 2))
    assert gain(found(model, 3, 4)["0.weight"].expression) == pytest.approx(
        gain(nn.PReLU(init=0.4)), rel=1e-6
    )


def test_convolutions_groups_and_normalisation() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2, groups=2),
        nn.ELU(),
        nn.Flatten(),
        nn.Linear(8 * 9, 2),
    )
    first, second, third = found(model, 2, 3, 8, 8).values()
    assert (first.fan_in, first.is_normalised, first.keeps_size) == (27, True, True)
    assert (second.fan_in, second.groups, second.keeps_size) == (36, 2, False)
    assert second.reads is None
    assert third.reads is None  # flattened: a unit is no channel any more
    assert str(second.expression) == "elu"


class Residual(nn.Module):
    def __init__(self, *, scaled: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.scale = nn.Parameter(torch.full((4,), 0.1)) if scaled else None

    def forward(self, x: Tensor) -> Tensor:
        branch = self.second(torch.tanh(self.first(x)))
        return x + (branch if self.scale is None else self.scale * branch)


@pytest.mark.parametrize("scaled", [True, False])
def test_the_end_of_a_residual_branch_is_known(scaled: bool) -> None:
    layers_of = found(Residual(scaled=scaled), 3, 4)
    assert not layers_of["first.weight"].ends_branch
    assert layers_of["second.weight"].ends_branch
    assert layers_of["second.weight"].is_scaled is scaled


def test_an_activation_that_adds_its_argument_is_no_branch() -> None:
    class Snake(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + torch.sin(x) ** 2

    assert not any(one.ends_branch for one in found(nn.Sequential(nn.Linear(4, 4), Snake()), 3, 4).values())


def test_a_transformer_and_an_lstm_are_seen_through_their_fused_paths() -> None:
    transformer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
    layers_of = found(transformer, 2, 5, 8)
    assert {name for name, one in layers_of.items() if one.ends_branch} == {
        "self_attn.out_proj.weight",
        "linear2.weight",
    }
    assert str(layers_of["linear1.weight"].expression) == "relu"
    recurrent = found(nn.LSTM(8, 5), 6, 2, 8)
    assert set(recurrent) == {"weight_ih_l0", "weight_hh_l0"}
    assert recurrent["weight_hh_l0"].is_reused


def test_the_module_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout())
    state = {name: value.clone() for name, value in model.state_dict().items()}
    found(model.train(), 8, 4)
    assert model.training
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert model[0].weight.grad is None


class Scores(nn.Module):
    """A vector makes one number of a row."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 8)
        self.vector = nn.Parameter(torch.ones(8))

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.linear(x) @ self.vector
        return scores


def test_a_product_with_a_vector_is_a_layer_too() -> None:
    found = layers(Scores(), Inputs((torch.randn(5, 4),)))
    assert [(one.weight, one.fan_in) for one in found] == [("linear.weight", 4), ("vector", 8)]
