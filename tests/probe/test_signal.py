"""The signal is that of the moment a submodule returns, and its gradient that of those values."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from layersmith.errors import UsageError
from layersmith.probe.inputs import Inputs
from layersmith.probe.rehearsal import cotangents
from layersmith.probe.signal import signal

EVERYTHING = ["mean", "std", "rms", "share_of_zeros", "gradient_std"]


def table(module: nn.Module, *args: object, seed: int = 0, **kwargs: object) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for one in signal(module, Inputs(args, kwargs), seed=seed):
        found.setdefault(one.where, {})[one.name] = one.value
    return found


def mlp(*, inplace: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(inplace=inplace), nn.Linear(8, 3))


def flat(*, inplace: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(5, 4, 3), nn.Flatten(), nn.ReLU(inplace=inplace), nn.Linear(16, 3))


def test_the_numbers_are_those_of_the_values_and_of_autograd() -> None:
    module, x = mlp(), torch.randn(32, 6)
    found = table(module, x, seed=3)
    steps = [x.clone().requires_grad_()]
    for part in module:
        steps.append(part(steps[-1]))
        steps[-1].retain_grad()
    torch.autograd.backward(*cotangents(steps[-1], seed=3))
    for where, y in zip(["input[0]", "0", "1", "2"], steps, strict=True):
        assert list(found[where]) == EVERYTHING
        assert y.grad is not None
        expected = [
            y.detach().mean(),
            y.detach().std(correction=0),
            y.detach().square().mean().sqrt(),
            (y == 0).float().mean(),
            y.grad.std(correction=0),
        ]
        assert list(found[where].values()) == pytest.approx([float(v) for v in expected], rel=1e-5, abs=1e-6)
    assert found[""] == found["2"]


def test_rows_are_in_the_order_of_return_after_the_inputs() -> None:
    module = nn.Sequential(mlp(), nn.Tanh())
    assert list(table(module, torch.randn(2, 6))) == ["input[0]", "0.0", "0.1", "0.2", "0", "1", ""]


@pytest.mark.parametrize(
    ("build", "shape"), [(mlp, (7, 6)), (mlp, (2, 7, 6)), (flat, (2, 5, 6))], ids=["2d", "view", "flatten"]
)
def test_a_later_module_that_writes_in_place_changes_no_earlier_number(
    build: Callable[..., nn.Module], shape: tuple[int, ...]
) -> None:
    x = torch.randn(shape)
    assert table(build(inplace=True), x) == table(build(inplace=False), x)


def test_a_view_that_nobody_uses_has_no_gradient_though_its_base_has() -> None:
    class LooksAside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.flatten = nn.Flatten()

        def forward(self, x: Tensor) -> Any:
            y = x * 2
            self.flatten(y)
            return y.tanh()

    found = table(LooksAside(), torch.randn(2, 3, 4))
    assert "gradient_std" not in found["flatten"]
    assert "gradient_std" in found["input[0]"]


def test_a_second_call_is_numbered_and_a_second_name_is_not_a_second_row() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = self.b = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Any:
            return self.b(self.a(x))

    found = table(Twice(), torch.randn(4, 3))
    assert list(found) == ["input[0]", "a", "a#2", ""]
    assert found["a"] != found["a#2"] == found[""]


def test_of_a_nested_output_the_first_floating_tensor_counts() -> None:
    class Nested(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.LSTM(3, 2)

        def forward(self, *, x: Tensor) -> Any:
            y, state = self.rnn(x)
            return {"best": y.argmax(-1), "y": y, "state": state}

    found = table(Nested(), x=torch.randn(5, 4, 3))
    assert list(found) == ["input['x']", "rnn", ""]
    assert found["rnn"]["mean"] == found[""]["mean"]
    assert all(list(row) == EVERYTHING for row in found.values())


def test_integers_are_passed_over() -> None:
    module = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 2))
    assert list(table(module, torch.randint(9, (5,)))) == ["0", "1", ""]


def test_where_no_gradient_arrives_there_is_none() -> None:
    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before = nn.Linear(3, 3)
            self.after = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Any:
            with torch.no_grad():
                x = self.before(x)
            return self.after(x)

    found = table(Cut(), torch.randn(4, 3))
    assert [where for where in found if "gradient_std" in found[where]] == ["after", ""]


def test_frozen_parameters_let_the_gradient_through() -> None:
    found = table(mlp().requires_grad_(False), torch.randn(4, 6))
    assert all("gradient_std" in row for row in found.values())


def test_a_checkpoint_is_measured_once() -> None:
    class Recomputing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = mlp()

        def forward(self, x: Tensor) -> Any:
            from torch.utils.checkpoint import checkpoint

            return checkpoint(self.block, x, use_reentrant=False)

    found = table(Recomputing(), x := torch.randn(4, 6))
    plain = table(mlp(), x)
    assert list(found) == ["input[0]", "block.0", "block.1", "block.2", "block", ""]
    assert found["block.0"] == plain["0"]


def test_what_runs_under_vmap_is_passed_over() -> None:
    class Mapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Any:
            return torch.vmap(self.inner)(x)

    assert list(table(Mapped(), torch.randn(4, 3))) == ["input[0]", ""]


def test_what_explodes_is_still_a_number() -> None:
    found = table(nn.Identity(), torch.tensor([1e30, -1e30]))
    assert found[""]["std"] == pytest.approx(1e30)
    assert math.isnan(table(nn.Identity(), torch.tensor([float("inf"), 0.0]))[""]["std"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_measured_in_full(dtype: torch.dtype) -> None:
    x = torch.full((4096,), 60000.0).to(dtype)
    x[0] = 0
    found = table(nn.Identity(), x)[""]
    assert found["std"] == pytest.approx(float(x.double().std(correction=0)))
    assert found["mean"] == pytest.approx(float(x.double().mean()))


def test_measuring_does_not_write_to_float64_values() -> None:
    module = nn.Sequential(nn.Identity(), nn.Identity())
    found = table(module, torch.linspace(1, 2, 50, dtype=torch.float64))
    assert found[""] == found["0"] == found["input[0]"]
    assert found[""]["mean"] == pytest.approx(1.5)


def test_complex_numbers_count_as_two() -> None:
    found = table(nn.Identity(), torch.tensor([3.0 + 0j, 0 - 3.0j]))
    assert found[""]["share_of_zeros"] == 0.5
    assert found[""]["rms"] == pytest.approx(3 / 2**0.5)


def test_the_mode_and_the_seed_are_used() -> None:
    module, x = nn.Dropout(0.5), torch.ones(500)
    assert table(module, x, seed=1) == table(module, x, seed=1) != table(module, x, seed=2)
    assert table(module.eval(), x)[""]["share_of_zeros"] == 0


def test_a_meta_module_is_a_usage_error_that_says_what_to_do() -> None:
    with pytest.raises(UsageError, match=r"meta device: weight, bias; use module.to_empty"):
        signal(nn.Linear(2, 2, device="meta"), Inputs.of(torch.ones(1, 2)))


@settings(max_examples=10, deadline=None)
@given(scale=st.floats(0.01, 100), shift=st.floats(-3, 3), depth=st.integers(1, 4))
def test_a_chain_of_scales_multiplies_forward_and_backward_alike(
    scale: float, shift: float, depth: int
) -> None:
    class Affine(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return scale * x + shift

    module = nn.Sequential(*(copy.copy(Affine()) for _ in range(depth)))
    found = table(module, torch.randn(64, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    grown = scale**depth
    assert found[""]["std"] == pytest.approx(grown * found["input[0]"]["std"])
    assert found["input[0]"]["gradient_std"] == pytest.approx(grown * found[""]["gradient_std"])
