"""FeedForward: its shapes, its layers, its function, its state."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from layersmith.errors import UsageError
from layersmith.nn import FeedForward, Linear, ScaledReLU, feed_forward

sizes = st.integers(1, 6)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 4), max_size=3),
    sizes,
    st.lists(sizes, max_size=3),
    sizes,
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
def test_it_is_its_layers_one_after_the_other(
    batch: list[int], fan_in: int, hidden: list[int], fan_out: int, dtype: torch.dtype
) -> None:
    model = FeedForward(fan_in, hidden, fan_out, nn.Tanh(), dtype=dtype)
    x = torch.randn(*batch, fan_in, dtype=dtype)
    expected = x
    linears = [layer for layer in model.layers if isinstance(layer, Linear)]
    for linear in linears[:-1]:
        expected = torch.tanh(expected @ linear.weight.mT + linear.get_parameter("bias"))
    expected = expected @ linears[-1].weight.mT + linears[-1].get_parameter("bias")
    assert [layer.weight.shape for layer in linears] == [
        (o, i) for i, o in pairwise([fan_in, *hidden, fan_out])
    ]
    assert expected.shape == (*batch, fan_out)
    rounding = 5e-2 if dtype is torch.bfloat16 else 1e-5
    torch.testing.assert_close(model(x), expected, rtol=rounding, atol=rounding)


def test_the_function_gives_what_the_module_gives() -> None:
    model, x = FeedForward(5, [4, 3], 2, nn.GELU()), torch.randn(2, 7, 5)
    linears = [layer for layer in model.layers if isinstance(layer, Linear)]
    weights, biases = [layer.weight for layer in linears], [layer.bias for layer in linears]
    torch.testing.assert_close(feed_forward(x, weights, biases, nn.functional.gelu), model(x))
    without = feed_forward(x, weights, [None] * 3, nn.functional.gelu)
    for layer in linears:
        nn.init.zeros_(layer.get_parameter("bias"))
    torch.testing.assert_close(without, model(x))
    with pytest.raises(ValueError, match="shorter"):
        feed_forward(x, weights, biases[1:], torch.relu)


def test_one_hidden_layer_may_be_a_number_as_in_the_tutorial() -> None:
    model = FeedForward(input_size=10, hidden_size=5, output_size=1)
    assert model(torch.randn(32, 10)).shape == (32, 1)
    assert model.hidden_size == (5,)
    assert isinstance(model.layers[1], ScaledReLU)
    assert repr(model).startswith("FeedForward(\n  input_size=10, hidden_size=(5,), output_size=1\n")


def test_the_activation_is_copied_for_each_layer_and_stays_as_it_is() -> None:
    activation = nn.PReLU(init=0.1)
    model = FeedForward(4, [4, 4], 2, activation, dtype=torch.float64)
    copies = [layer for layer in model.layers if isinstance(layer, nn.PReLU)]
    assert len({id(module) for module in [*copies, activation]}) == 3
    assert all(module.weight.dtype is torch.float64 for module in copies)
    assert activation.weight.dtype is torch.float32
    model(torch.randn(3, 4, dtype=torch.float64)).sum().backward()
    assert activation.weight.grad is None


def test_reset_parameters_is_what_the_constructor_did() -> None:
    torch.manual_seed(5)
    model = FeedForward(6, [8, 7], 3, nn.PReLU())
    first = {name: value.clone() for name, value in model.state_dict().items()}
    for parameter in model.parameters():
        nn.init.constant_(parameter, 7.0)
    torch.manual_seed(5)
    model.reset_parameters()
    assert all(torch.equal(value, first[name]) for name, value in model.state_dict().items())
    model.reset_parameters()
    assert not torch.equal(model.state_dict()["layers.0.weight"], first["layers.0.weight"])


def test_it_loads_the_weights_of_a_plain_sequential() -> None:
    theirs = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
    mine, x = FeedForward(6, 5, 2, nn.ReLU()), torch.randn(3, 6)
    mine.layers.load_state_dict(theirs.state_dict())
    assert torch.equal(mine(x), theirs(x))


def test_an_activation_that_is_not_elementwise_is_refused() -> None:
    with pytest.raises(UsageError, match=r"Softmax.* is not an elementwise activation"):
        FeedForward(4, 4, 2, nn.Softmax(dim=-1))
    with pytest.raises(UsageError, match=r"Threshold.* is constant"):
        FeedForward(4, 4, 2, nn.Threshold(100.0, 1.0))


def test_it_learns_a_rule_that_no_linear_layer_can() -> None:
    torch.manual_seed(0)
    model, x = FeedForward(2, [32, 32], 1), torch.randn(256, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        loss = (model(x) - x.prod(-1, keepdim=True)).square().mean()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1  # that of the best linear layer is the variance of the products, about 1
