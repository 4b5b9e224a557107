"""`initialize_`: signal and gradient keep their size in depth, and what is meant to be special stays so."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import layersmith
from layersmith.errors import UsageError
from layersmith.probe.inputs import Inputs
from layersmith.probe.signal import signal
from layersmith.repair import METHODS, initialize_


def fresh(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def stack(activation: Callable[[], nn.Module], *, depth: int = 60, width: int = 64) -> nn.Sequential:
    torch.manual_seed(0)
    parts: list[nn.Module] = [nn.Linear(20, width)]
    for _ in range(depth - 2):
        parts += [activation(), nn.Linear(width, width)]
    return nn.Sequential(*parts, activation(), nn.Linear(width, 3))


def conv_stack(activation: Callable[[], nn.Module], *, depth: int = 30) -> nn.Sequential:
    torch.manual_seed(0)
    parts: list[nn.Module] = [nn.Conv2d(2, 12, 3, padding=1)]
    for _ in range(depth - 2):
        parts += [activation(), nn.Conv2d(12, 12, 3, padding=1)]
    return nn.Sequential(*parts, activation(), nn.Flatten(), nn.Linear(12 * 36, 3))


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(torch.nn.functional.gelu(self.first(x)))


def spread(model: nn.Module, x: Tensor, name: str) -> float:
    """Largest over smallest of a measurement of linear, convolution and residual layers but the last."""
    kinds = (nn.Linear, nn.Conv2d, Block)
    names = [path for path, part in model.named_children() if isinstance(part, kinds)][:-1]
    values = [m.value for m in signal(model, Inputs.of(x)) if m.name == name and m.where in names]
    assert len(values) == len(names)
    return max(values) / max(min(values), 1e-300)


class Scaled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * torch.clamp(x, min=0)


class Snake(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.sin(x) ** 2


@pytest.mark.parametrize(
    "activation", [nn.ReLU, Scaled, nn.Tanh, nn.Sigmoid, Snake], ids=lambda a: a.__name__
)
def test_signal_and_gradient_keep_their_size_in_a_plain_stack(activation: Callable[[], nn.Module]) -> None:
    model, x = stack(activation), torch.randn(32, 20, generator=fresh())
    assert spread(model, x, "std") > 3 or spread(model, x, "gradient_std") > 3
    initialize_(model, x, generator=fresh())
    assert spread(model, x, "std") < 1.5
    assert spread(model, x, "gradient_std") < 2


@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU, nn.Tanh], ids=lambda a: a.__name__)
def test_and_in_a_stack_of_convolutions(activation: Callable[[], nn.Module]) -> None:
    model, x = conv_stack(activation), torch.randn(8, 2, 6, 6, generator=fresh())
    initialize_(model, x, generator=fresh())
    assert spread(model, x, "std") < 1.5
    assert spread(model, x, "gradient_std") < 2.5


def test_the_branches_of_a_residual_network_add_up_to_about_the_input() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 64), *[Block(64) for _ in range(60)], nn.Linear(64, 3))
    for part in model.modules():
        if isinstance(part, nn.Linear):
            nn.init.kaiming_normal_(part.weight)
    x = torch.randn(32, 20, generator=fresh())
    assert spread(model, x, "std") > 100
    initialize_(model, x, generator=fresh())
    assert spread(model, x, "std") < 2
    assert spread(model, x, "gradient_std") < 2


def test_gain_gives_each_layer_the_gain_of_what_follows() -> None:
    model = nn.Sequential(nn.Linear(400, 300), Scaled(), nn.Linear(300, 200), nn.Tanh(), nn.Linear(200, 100))
    initialize_(model, torch.randn(8, 400), method="gain", generator=fresh())
    stds = [float(model.get_parameter(f"{i}.weight").detach().std()) for i in (0, 2, 4)]
    wanted = [2 * math.sqrt(2 / 400), 1.592537 / math.sqrt(300), 1 / math.sqrt(200)]
    assert stds == pytest.approx(wanted, rel=0.02)
    assert not any(bool(model.get_parameter(f"{i}.bias").count_nonzero()) for i in (0, 2, 4))


def test_lsuv_gives_every_product_variance_one_in_one_pass() -> None:
    model, x = stack(nn.SiLU, depth=20), 5 * torch.randn(64, 20, generator=fresh())
    initialize_(model, x, method="lsuv", generator=fresh())
    found = {m.where: m.value for m in signal(model, Inputs.of(x)) if m.name == "std"}
    assert [found[str(i)] for i in range(0, 39, 2)] == pytest.approx([1.0] * 20, rel=1e-3)


class Everything(nn.Module):
    """What is not to be touched beside what is."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 8)
        self.norm = nn.LayerNorm(8)
        self.first, self.zero = nn.Linear(8, 8), nn.Linear(8, 8)
        self.frozen = nn.Linear(8, 8)
        self.scale = nn.Parameter(torch.full((8,), 1e-4))
        nn.init.zeros_(self.zero.weight)
        self.frozen.weight.requires_grad_(False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.frozen(self.embedding(tokens))
        x = x + self.scale * self.first(self.norm(x))
        return x + self.zero(x.relu())


@pytest.mark.parametrize("method", METHODS)
def test_what_is_meant_to_be_special_is_left_alone(method: str) -> None:
    model = Everything()
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    initialize_(model, torch.randint(0, 10, (4, 6)), method=method)
    changed = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert changed == {"first.weight", "first.bias"}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda: nn.LSTM(6, 5), (7, 3, 6)),
        (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (2, 5, 8)),
        (lambda: nn.ConvTranspose2d(3, 4, 3, stride=2), (2, 3, 5, 5)),
        (
            lambda: nn.Sequential(nn.Conv1d(4, 6, 3, groups=2), nn.ReLU(), nn.Conv1d(6, 4, 4, stride=2)),
            (2, 4, 20),
        ),
        (lambda: nn.Sequential(nn.Linear(6, 1), nn.GELU(), nn.Linear(1, 3)), (2, 6)),
        (lambda: nn.Sequential(nn.Linear(6, 4), nn.Softmax(-1), nn.Linear(4, 3)).bfloat16(), (2, 6)),
    ],
    ids=["lstm", "transformer", "transposed", "grouped", "narrow", "bfloat16"],
)
def test_every_method_takes_any_architecture(
    method: str, build: Callable[[], nn.Module], shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    model = build()
    x = torch.randn(*shape).to(next(model.parameters()).dtype)
    initialize_(model, x, method=method, generator=fresh())
    output = model(x)
    output = output[0] if isinstance(output, tuple) else output
    assert 0.05 < float(output.detach().std()) < 5


def test_one_generator_one_result_and_no_other_moves() -> None:
    x = torch.randn(4, 20)
    before = torch.get_rng_state()
    first, second, third = stack(nn.GELU, depth=4), stack(nn.GELU, depth=4), stack(nn.GELU, depth=4)
    torch.set_rng_state(before)
    for model, seed in ((first, 1), (second, 1), (third, 2)):
        initialize_(model, x, generator=fresh(seed))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first(x), second(x))
    assert not torch.equal(first(x), third(x))


def test_only_what_is_named_is_drawn() -> None:
    model = stack(nn.ReLU, depth=4)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    initialize_(model, torch.randn(4, 20), only=["2.weight"])
    changed = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert changed == {"2.weight", "2.bias"}


class Squares(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.exp(x.square().sum() * 1e4)


@pytest.mark.parametrize(
    ("build", "inputs", "words", "why"),
    [
        (nn.ReLU, torch.randn(2, 3), {}, "nothing to initialise"),
        (lambda: nn.Linear(3, 3, device="meta"), torch.randn(2, 3), {}, "meta device"),
        (lambda: nn.LazyLinear(3), torch.randn(2, 3), {}, "is lazy"),
        (lambda: nn.Linear(3, 3), torch.full((2, 3), math.nan), {}, "not finite"),
        (lambda: nn.Linear(3, 3), torch.randn(2, 3), {"method": "magic"}, "must be one of gain, orthogonal"),
        (lambda: nn.Linear(3, 3), torch.randn(2, 3), {"only": ["wait"]}, "no product uses a weight 'wait'"),
        (lambda: nn.Sequential(nn.Linear(3, 3), Squares()), torch.randn(2, 3), {}, "not finite with the new"),
        (lambda: nn.Linear(3, 3), "f32[2,3]", {}, "inputs must be a tensor"),
    ],
)
def test_what_cannot_be_initialised_is_refused_and_left_as_it_was(
    build: Callable[[], nn.Module], inputs: object, words: dict[str, Any], why: str
) -> None:
    model = build()
    before = [p.detach().clone() for p in model.parameters() if not (p.is_meta or nn.parameter.is_lazy(p))]
    with pytest.raises(UsageError, match=why):
        layersmith.initialize_(model, inputs, **words)
    after = [p for p in model.parameters() if not (p.is_meta or nn.parameter.is_lazy(p))]
    assert all(torch.equal(one, other) for one, other in zip(after, before, strict=True))
