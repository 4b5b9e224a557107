"""A multiply-add is two operations, and each is charged to the submodule whose work it is."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from layersmith.probe.flops import flops
from layersmith.probe.inputs import Inputs

Table = dict[str, tuple[float, float]]


def table(module: nn.Module, *args: object) -> Table:
    """Forward and backward operations by path."""
    found = flops(module, Inputs(args))
    assert {m.unit for m in found} == {"FLOP"}
    values = {(m.name, m.where): m.value for m in found}
    return {m.where: (values["flops_forward", m.where], values["flops_backward", m.where]) for m in found}


def wanting_gradient(*shape: int) -> Tensor:
    return torch.randn(*shape, requires_grad=True)


@settings(max_examples=10, deadline=None)
@given(sizes=st.lists(st.integers(1, 9), min_size=2, max_size=5), batch=st.integers(1, 4))
def test_a_chain_of_linear_layers_is_counted_by_hand(sizes: list[int], batch: int) -> None:
    layers = [nn.Linear(a, b) for a, b in pairwise(sizes)]
    products = [2 * batch * a * b for a, b in pairwise(sizes)]
    found = table(nn.Sequential(*layers), torch.randn(batch, sizes[0]))
    # The first layer's input needs no gradient: its backward is one product, all others' two.
    expected = {str(i): (n, n if i == 0 else 2 * n) for i, n in enumerate(products)}
    assert found == {"": tuple(map(sum, zip(*expected.values(), strict=True))), **expected}


@pytest.mark.parametrize(
    ("module", "positions"),
    [
        (nn.Conv2d(8, 4, 3), 36),
        (nn.Conv2d(8, 4, 3, groups=2, stride=2), 9),
        (nn.Conv2d(8, 8, 3, groups=8, padding=1), 64),
        (nn.ConvTranspose2d(8, 4, 3, groups=2), 64),
    ],
    ids=str,
)
@pytest.mark.parametrize("gradients", [1, 2])
def test_each_gradient_of_a_convolution_costs_what_forward_does(
    module: nn.Conv2d | nn.ConvTranspose2d, positions: int, gradients: int
) -> None:
    x = torch.randn(2, 8, 8, 8, requires_grad=gradients == 2)
    forward = 2 * 2 * positions * module.weight.numel()
    assert table(module, x) == {"": (forward, gradients * forward)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["onednn", "composed"])
def test_an_lstm_counts_whichever_way_it_is_computed(dtype: torch.dtype) -> None:
    module = nn.LSTM(4, 5, num_layers=2, bidirectional=True).to(dtype)
    weights = sum(p.numel() for name, p in module.named_parameters() if "weight" in name)
    forward, backward = table(module, torch.randn(3, 2, 4, dtype=dtype))[""]
    assert forward == 2 * 3 * 2 * weights
    assert forward < backward <= 2 * forward


def test_attention_counts_on_the_cpu_and_on_meta() -> None:
    class Attention(nn.Module):
        def forward(self, q: Tensor) -> Any:
            return nn.functional.scaled_dot_product_attention(q, q, q)

    product = 2 * 1 * 2 * 8 * 8 * 4
    assert table(Attention(), wanting_gradient(1, 2, 8, 4)) == {"": (2 * product, 5 * product)}
    forward, backward = table(Attention(), torch.empty(1, 2, 8, 4, device="meta", requires_grad=True))[""]
    assert forward == 2 * product
    assert backward >= 4 * product  # the kernel computes the scores again, the plain way does not


def test_a_meta_module_counts_like_a_real_one() -> None:
    module = nn.Sequential(nn.Conv1d(2, 3, 3), nn.Flatten(), nn.Linear(12, 2))
    real = table(module, torch.randn(2, 2, 6))
    assert table(module.to("meta"), torch.empty(2, 2, 6, device="meta")) == real


def test_what_is_elementwise_counts_nothing_and_charges_no_neighbour() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 4), nn.LayerNorm(4))
    assert table(module, wanting_gradient(3, 4)) == {
        "": (192, 384),
        "0": (96, 192),
        "1": (0, 0),
        "2": (96, 192),
        "3": (0, 0),
    }


def test_the_whole_agrees_with_torch_s_counter() -> None:
    module = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0)
    x = torch.randn(2, 5, 8)
    with FlopCounterMode(display=False) as forward:
        y = module(x)
    with FlopCounterMode(display=False) as backward:
        y.sum().backward()
    mine = table(module, x)
    assert mine["linear1"] == (2 * 2 * 5 * 8 * 16, 2 * 2 * 2 * 5 * 8 * 16)
    # Before 2.15 torch's counter sees no attention kernel of the CPU.
    kernel = 2 * 2 * 2 * 5 * 5 * 4
    gap = (mine[""][0] - forward.get_total_flops(), mine[""][1] - backward.get_total_flops())
    assert gap in {(2 * kernel, 5 * kernel), (0, 0)}


def test_calls_of_one_submodule_add_up_and_own_work_is_the_container_s() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = nn.Linear(4, 4, bias=False)
            self.weight = nn.Parameter(torch.randn(4, 4))

        def forward(self, x: Tensor) -> Any:
            return self.part(self.part(x)) @ self.weight

    assert table(Twice(), wanting_gradient(1, 4)) == {"": (96, 192), "part": (64, 128)}


def test_a_frozen_front_has_no_backward() -> None:
    module = nn.Sequential(nn.Linear(4, 4).requires_grad_(False), nn.Linear(4, 4))
    assert table(module, torch.randn(1, 4)) == {"": (64, 32), "0": (32, 0), "1": (32, 32)}


def test_products_with_vectors_count() -> None:
    class Vectors(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4))

        def forward(self, x: Tensor) -> Any:
            return x @ self.weight + (x[0] @ self.weight)

    assert table(Vectors(), torch.randn(3, 4))[""][0] == 2 * 3 * 4 + 2 * 4


def test_what_a_checkpoint_computes_again_is_backward() -> None:
    class Recomputing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = nn.Sequential(nn.Linear(4, 4), nn.Tanh())

        def forward(self, x: Tensor) -> Any:
            from torch.utils.checkpoint import checkpoint

            return checkpoint(self.block, x, use_reentrant=False)

    assert table(Recomputing(), torch.randn(1, 4))[""] == (32, 64)
