"""The audit against numbers computed by hand, and on every kind of module."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from layersmith.errors import UsageError
from layersmith.finding import Measurement
from layersmith.probe.audit import STEP, audit, medians
from layersmith.probe.inputs import Inputs


def table(module: nn.Module, *args: Tensor) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for one in audit(module, Inputs(args)):
        found.setdefault(one.where, {})[one.name] = one.value
    return found


class Tutorial(nn.Module):
    """`x @ weights + bias`, then an expression, twice."""

    def __init__(self, width: int = 256) -> None:
        super().__init__()
        self.first, self.second = Product(20, width), Product(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(0.5 * torch.clamp(self.first(x), min=0))


class Product(nn.Module):
    def __init__(self, fan_in: int, fan_out: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(fan_in, fan_out))
        self.bias = nn.Parameter(torch.randn(fan_out))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weights + self.bias


def test_what_the_weights_foretell_is_what_is_measured() -> None:
    torch.manual_seed(0)
    found = table(Tutorial(), torch.randn(64, 20))
    for path in ("first", "second"):
        assert found[path]["predicted_std"] == pytest.approx(found[path]["rms"], rel=0.1)
    assert found["first.weights"]["fan_in"] == 20
    assert found["second.weights"]["fan_in"] == found["second.weights"]["fan_out"] == 256
    assert found[""]["signal_depth"] < 1  # each layer multiplies by 16 * 0.35


def test_the_first_step_of_adam_is_foretold() -> None:
    torch.manual_seed(0)
    model, x = Tutorial(32), torch.randn(8, 20)
    ratio = table(model, x)["first.weights"]["update_ratio"]
    before = model.first.weights.detach().clone()
    optimizer = torch.optim.Adam(model.parameters(), lr=STEP)
    model(x).square().mean().backward()
    optimizer.step()
    step = float((model.first.weights.detach() - before).norm() / before.norm())
    assert ratio == pytest.approx(step, rel=0.05)  # another loss, the same signs but for dead units


def test_inputs_that_grow_alike_have_rank_one_and_cosine_one() -> None:
    found = table(nn.Sequential(nn.Linear(6, 8), nn.Identity()), torch.ones(10, 6))["0"]
    assert found["effective_rank"] == pytest.approx(1, abs=1e-6)
    assert found["cosine"] == pytest.approx(1, abs=1e-6)
    apart = table(nn.Identity(), torch.eye(10))[""]
    assert apart["effective_rank"] == pytest.approx(10)
    assert apart["cosine"] == pytest.approx(0)


def test_saturated_units_and_dead_units_are_told_apart() -> None:
    x = torch.tensor([[-9.0, 0.1, 9.0, -1.0]] * 6)
    assert table(nn.Tanh(), x)[""]["saturated_share"] == pytest.approx(0.5)
    dead = table(nn.Sequential(nn.ReLU(), nn.Identity()), x)
    assert dead["0"]["dead_units"] == pytest.approx(0.5)
    assert "saturated_share" not in dead["0"]
    assert "dead_units" not in table(nn.Tanh(), x)[""]


def test_dead_channels_of_an_image() -> None:
    x = torch.randn(3, 4, 5, 5).abs()
    x[:, 1] = -1
    assert table(nn.ReLU(), x)[""]["dead_units"] == pytest.approx(0.25)


def test_units_that_are_copies_of_each_other_are_counted() -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        weight = model.get_parameter("0.weight")
        weight[1] = weight[0]
    found = table(model, torch.randn(5, 6))
    assert found["0.weight"]["copied_units"] == pytest.approx(0.5)
    assert "copied_units" not in found["2.weight"]
    nn.init.zeros_(model.get_parameter("2.weight"))
    assert "copied_units" not in table(model, torch.randn(5, 6))["2.weight"]  # zero is meant


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.SiLU(), nn.Flatten()), (4, 2, 6, 6)),
        (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (3, 5, 8)),
        (lambda: nn.LSTM(6, 5, 2), (4, 3, 6)),
        (lambda: nn.GRUCell(6, 5), (3, 6)),
        (nn.ReLU, (1,)),
        (lambda: nn.Softmax(-1), (3, 6)),
        (lambda: nn.Linear(6, 4).bfloat16(), (3, 6)),
    ],
    ids=["conv", "transformer", "lstm", "cell", "no-rows", "softmax", "bfloat16"],
)
def test_any_architecture_is_audited_and_left_as_it_is(
    build: Callable[[], nn.Module], shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    model = build()
    dtype = next((p.dtype for p in model.parameters()), torch.float32)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    before = torch.get_rng_state()
    found = audit(model, Inputs((torch.zeros(*shape, dtype=dtype).uniform_(),)))
    assert any(one.name == "std" and one.where == "" for one in found)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in state.items())
    assert all(p.grad is None for p in model.parameters())
    torch.set_rng_state(before)


def test_a_lazy_module_takes_its_shapes_from_the_inputs() -> None:
    found = table(nn.Sequential(nn.LazyLinear(4), nn.ReLU()), torch.randn(3, 6))
    assert found["0.weight"]["fan_in"] == 6


def test_tokens_a_tied_weight_and_an_overflow_in_the_middle_are_no_trouble() -> None:
    embedding = nn.Embedding(9, 4)
    head = nn.Linear(4, 9, bias=False)
    head.weight = embedding.weight
    tokens = torch.randint(0, 9, (3, 5))
    assert table(nn.Sequential(embedding, head), tokens)["1"]["predicted_std"] > 0

    class Overflows(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.exp(1e5 * x)

    found = table(nn.Sequential(nn.Linear(4, 4), Overflows(), nn.Linear(4, 2)), torch.rand(3, 4) + 1)
    assert math.isfinite(found["0"]["std"])
    assert not math.isfinite(found["2"]["std"])


def test_a_module_without_values_is_refused() -> None:
    with pytest.raises(UsageError, match="meta device"):
        audit(nn.Linear(2, 2, device="meta"), Inputs((torch.randn(2, 2),)))


def test_medians_come_with_half_the_interquartile_range() -> None:
    several = [[Measurement("std", value, where="a")] for value in (1.0, 2.0, 9.0)]
    (found,) = medians(several)
    assert (found.name, found.where, found.value, found.spread) == ("std", "a", 2.0, 2.0)
