"""ScaledReLU against the tutorial's scale * clamp(x, min=0)."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from layersmith.nn import ScaledReLU, scaled_relu


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 4), max_size=4),
    st.floats(-4, 4),
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
def test_it_is_the_factor_times_the_positive_part(shape: list[int], scale: float, dtype: torch.dtype) -> None:
    x = torch.randn(shape, dtype=dtype, requires_grad=True)
    output, expected = scaled_relu(x, scale), scale * torch.clamp(x, min=0)
    torch.testing.assert_close(output, expected)
    weights = torch.randn_like(x)
    (mine,), (theirs,) = (torch.autograd.grad((y * weights).sum(), x) for y in (output, expected))
    torch.testing.assert_close(mine, theirs)


def test_the_module_is_the_function() -> None:
    x = torch.randn(3, 4)
    assert torch.equal(ScaledReLU()(x), x.relu())
    assert torch.equal(ScaledReLU(0.5)(x), scaled_relu(x, 0.5))
    assert repr(ScaledReLU(0.5)) == "ScaledReLU(scale=0.5)"


def test_it_keeps_only_its_output_for_backward() -> None:
    kept: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = scaled_relu(torch.randn(100, requires_grad=True), 0.5)
    assert {tensor.data_ptr() for tensor in kept if tensor.numel() > 1} == {output.data_ptr()}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_goes_through(value: float) -> None:
    assert torch.equal(scaled_relu(torch.tensor(value), 0.5).isnan(), torch.tensor(value != value))  # noqa: PLR0124
