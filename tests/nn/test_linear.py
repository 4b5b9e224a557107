"""Linear against torch.nn.functional.linear and torch.nn.Linear."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from layersmith.nn import Linear

sizes = st.integers(1, 9)
leading = st.lists(st.integers(0, 4), max_size=3)
dtypes = st.sampled_from([torch.float32, torch.float64, torch.bfloat16])


@settings(max_examples=30, deadline=None)
@given(leading, sizes, sizes, st.booleans(), dtypes)
def test_it_is_the_affine_map_of_the_last_dimension(
    batch: list[int], fan_in: int, fan_out: int, bias: bool, dtype: torch.dtype
) -> None:
    layer = Linear(fan_in, fan_out, bias, dtype=dtype)
    x = torch.randn(*batch, fan_in, dtype=dtype)
    expected = x.double() @ layer.weight.double().mT
    if layer.bias is not None:
        nn.init.normal_(layer.bias)
        expected = expected + layer.bias.double()
    output = layer(x)
    assert output.shape == (*batch, fan_out)
    assert output.dtype is dtype
    rounding = 1e-12 if dtype is torch.float64 else 1e-5 if dtype is torch.float32 else 6e-2
    torch.testing.assert_close(output.double(), expected, rtol=rounding, atol=rounding)


@pytest.mark.parametrize("bias", [True, False])
def test_it_loads_the_state_of_torchs_linear_and_the_other_way_round(bias: bool) -> None:
    theirs, mine = nn.Linear(7, 3, bias), Linear(7, 3, bias)
    mine.load_state_dict(theirs.state_dict())
    x = torch.randn(5, 7)
    assert torch.equal(mine(x), theirs(x))
    theirs.load_state_dict(Linear(7, 3, bias).state_dict())
    assert [name for name, _ in mine.named_parameters()] == [name for name, _ in theirs.named_parameters()]


@pytest.mark.parametrize("gain", [1.0, math.sqrt(2)])
def test_weights_start_with_std_gain_over_the_root_of_fan_in_and_the_bias_at_zero(gain: float) -> None:
    torch.manual_seed(0)
    layer = Linear(400, 300, gain=gain)
    assert layer.weight.std().item() == pytest.approx(gain / 20, rel=0.01)
    assert layer.weight.mean().item() == pytest.approx(0, abs=gain / 20 / 100)
    assert layer.bias is not None
    assert not layer.bias.any()


def test_reset_parameters_draws_again_from_torchs_generator_also_for_frozen_weights() -> None:
    torch.manual_seed(3)
    layer = Linear(4, 4).requires_grad_(requires_grad=False)
    first = layer.weight.clone()
    layer.reset_parameters()
    assert not torch.equal(layer.weight, first)
    torch.manual_seed(3)
    layer.reset_parameters()
    assert torch.equal(layer.weight, first)
    assert not layer.weight.requires_grad


def test_its_repr_is_its_constructors_arguments() -> None:
    assert repr(Linear(7, 3)) == "Linear(in_features=7, out_features=3, bias=True)"
    assert (
        repr(Linear(7, 3, bias=False, gain=1.5))
        == "Linear(in_features=7, out_features=3, bias=False, gain=1.5)"
    )
