"""Every storage that autograd keeps is counted once, for whoever saves it first; every parameter once."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from layersmith.errors import UsageError
from layersmith.probe.inputs import Inputs
from layersmith.probe.memory import parameters, saved_bytes


def saved(module: nn.Module, *args: object) -> dict[str, float]:
    found = saved_bytes(module, Inputs(args))
    assert {(m.name, m.unit) for m in found} == {("saved_bytes", "B")}
    return {m.where: m.value for m in found}


def counted(module: nn.Module, *args: object) -> dict[str, tuple[float, float]]:
    found = parameters(module, Inputs(args))
    values = {(m.name, m.where): m.value for m in found}
    return {m.where: (values["parameter_count", m.where], values["parameter_bytes", m.where]) for m in found}


@settings(max_examples=10, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=3, max_size=5),
    inplace=st.booleans(),
    device=st.sampled_from(["cpu", "meta"]),
)
def test_a_chain_keeps_each_hidden_output_once(sizes: list[int], inplace: bool, device: str) -> None:
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b, device=device), nn.ReLU(inplace=inplace)]
    found = saved(nn.Sequential(*layers), torch.ones(2, sizes[0], device=device))
    # ReLU saves its output, which the next layer saves again; the inputs and the weights do not count.
    assert [found[str(2 * i + 1)] for i in range(len(sizes) - 1)] == [4 * 2 * size for size in sizes[1:]]
    assert [found[str(2 * i)] for i in range(len(sizes) - 1)] == [0] * (len(sizes) - 1)
    assert found[""] == sum(4 * 2 * size for size in sizes[1:])


def test_who_saves_first_is_charged_and_containers_with_it() -> None:
    module = nn.Sequential(nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2)), nn.Tanh())
    assert saved(module, torch.ones(4, 3)) == {"": 112, "0": 80, "0.0": 0, "0.1": 80, "1": 32}


def test_a_view_keeps_all_of_its_storage() -> None:
    class Narrow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x: Tensor) -> Any:
            return (x + 1)[:1] * self.scale

    assert saved(Narrow(), torch.ones(100, 3)) == {"": 1200}


def test_buffers_and_what_forward_drops_again_do_not_count() -> None:
    class Drops(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mask = nn.Buffer(torch.ones(3))
            self.scale = nn.Parameter(torch.ones(3))

        def forward(self, x: Tensor) -> Any:
            for _ in range(4):
                (self.scale * x).exp()
            return (self.mask * self.scale) * x

    assert saved(Drops(), torch.ones(2, 3)) == {"": 0}


def test_a_dropout_mask_counts_and_eval_saves_none() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5))
    assert saved(module, torch.ones(2, 3))["1"] == 8 * 4  # CPU dropout keeps its noise as floats
    assert saved(module.eval(), torch.ones(2, 3))["1"] == 0


def test_calls_of_one_submodule_add_up() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tanh = nn.Tanh()

        def forward(self, x: Tensor) -> Any:
            return self.tanh(self.tanh(x))

    assert saved(Twice(), torch.ones(2, 3)) == {"": 48, "tanh": 48}


def test_nothing_is_saved_without_gradient_or_under_a_checkpoint() -> None:
    class Parts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cut, self.again = nn.Tanh(), nn.Sequential(nn.Linear(3, 3), nn.Tanh())

        def forward(self, x: Tensor) -> Any:
            from torch.utils.checkpoint import checkpoint

            with torch.no_grad():
                y = self.cut(x)
            return checkpoint(self.again, y, use_reentrant=False)

    found = saved(Parts(), torch.ones(2, 3))
    assert found["cut"] == found["again"] == 0


def test_sparse_tensors_are_passed_over() -> None:
    class Sparse(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3, 2))

        def forward(self, x: Tensor) -> Any:
            return torch.sparse.mm(x, self.weight).tanh()

    assert saved(Sparse(), torch.eye(3).to_sparse()) == {"": 24}


def test_torch_func_is_a_usage_error_and_other_errors_stay() -> None:
    class Differentiates(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return torch.func.grad(lambda y: y.square().sum())(x)

    class Raises(nn.Module):
        def forward(self, x: Tensor) -> Any:
            raise RuntimeError("out of paper")

    with pytest.raises(UsageError, match="Differentiates saves for backward cannot be seen"):
        saved(Differentiates(), torch.ones(2))
    with pytest.raises(RuntimeError, match="out of paper"):
        saved(Raises(), torch.ones(2))


def test_parameters_are_counted_with_contents_and_shared_ones_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode = nn.Linear(3, 3, bias=False)
            self.decode = nn.Linear(3, 3)
            self.decode.weight = self.encode.weight
            self.norm = nn.BatchNorm1d(3, dtype=torch.float64)

        def forward(self, x: Tensor) -> Any:
            return self.decode(self.encode(x))

    assert counted(Tied(), torch.ones(1, 3)) == {
        "": (18, 4 * 12 + 8 * 6),
        "encode": (9, 36),
        "decode": (12, 48),
        "norm": (6, 48),
    }


def test_lazy_parameters_are_counted_with_the_shapes_that_the_inputs_give() -> None:
    module = nn.Sequential(nn.LazyLinear(5))
    assert counted(module, torch.ones(2, 10))["0"] == (55, 220)
    assert all(nn.parameter.is_lazy(parameter) for parameter in module.parameters())
