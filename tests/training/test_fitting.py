"""A module, a class or a function becomes a net that fits the data."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from layersmith.errors import UsageError
from layersmith.nn import FeedForward, Linear, ScaledReLU
from layersmith.training import Dataset, load
from layersmith.training.fitting import model_for

DIGITS = load("digits")
CURVE = load((torch.linspace(0, 1, 20)[:, None].expand(20, 3), torch.linspace(0, 2, 20)))


class TwoLayers(nn.Module):
    def __init__(self, in_features: int, hidden: int, num_classes: int, *, slope: float = 0.1) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(in_features, hidden), nn.Linear(hidden, num_classes)
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.second(nn.functional.leaky_relu(self.first(x), self.slope))
        return output


class Convolutions(nn.Module):
    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(4 * 6 * 6, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        output: Tensor = self.head(self.body(images))
        return output


class Squeezed(nn.Module):
    """A regression of one output that leaves its dimension out."""

    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(input_size))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


class Uncopyable(nn.Linear):
    def __deepcopy__(self, memo: object) -> Uncopyable:
        raise RuntimeError("there is only one of me")


@pytest.mark.parametrize("target", [FeedForward, TwoLayers, Linear, nn.Linear])
@pytest.mark.parametrize("data", [DIGITS, CURVE], ids=lambda data: data.task)
def test_a_class_is_given_the_sizes_of_the_data(target: type[nn.Module], data: Dataset) -> None:
    fitted = model_for(data, target)
    assert fitted.module(data.x[:5]).shape == (5, data.outputs)
    assert type(fitted.module) is target
    assert (fitted.name, fitted.arrangement) == (target.__name__, "")


def test_a_single_output_may_leave_its_dimension_out() -> None:
    assert model_for(CURVE, Squeezed).arrangement == ""


def test_a_parameter_keeps_its_default_unless_the_data_decides_it() -> None:
    module = model_for(DIGITS, TwoLayers).module
    assert isinstance(module, TwoLayers)
    assert module.slope == 0.1
    assert model_for(DIGITS, Convolutions).arrangement == "Unflatten(1, (1, 8, 8)) -> Convolutions"


def sized(input_size: int, d_out: int) -> nn.Module:
    return nn.Sequential(nn.Linear(input_size, 7), nn.Linear(7, d_out))


def test_a_function_builds_a_module() -> None:
    fitted = model_for(DIGITS, lambda: FeedForward(64, 5, 10))
    assert fitted.name == "FeedForward"
    assert model_for(CURVE, sized).arrangement == ""


def test_a_module_is_copied() -> None:
    module = nn.Linear(64, 10)
    fitted = model_for(DIGITS, module).module
    assert fitted is not module
    assert next(fitted.parameters()) is not module.weight
    assert next(fitted.parameters()).equal(module.weight)


@pytest.mark.parametrize("activation", [ScaledReLU(0.5), nn.Tanh(), nn.PReLU(), nn.Dropout()])
def test_an_activation_is_put_between_two_linears(activation: nn.Module) -> None:
    fitted = model_for(CURVE, activation)
    assert fitted.arrangement == f"Linear(3, 64) -> {type(activation).__name__} -> Linear(64, 1)"
    assert fitted.module(CURVE.x).shape == (20, 1)


def test_a_layer_of_one_width_is_put_between_linears_of_that_width() -> None:
    assert model_for(CURVE, nn.LayerNorm).arrangement == "Linear(3, 64) -> LayerNorm -> Linear(64, 1)"
    assert model_for(CURVE, nn.LayerNorm(3)).arrangement == "Linear(3, 3) -> LayerNorm -> Linear(3, 1)"


def test_a_layer_of_another_number_of_outputs_gets_a_readout() -> None:
    fitted = model_for(DIGITS, Linear(64, 32))
    assert fitted.arrangement == "Linear -> Linear(32, 10)"
    assert fitted.module(DIGITS.x[:2]).shape == (2, 10)


def test_a_module_that_takes_images_gets_images() -> None:
    fitted = model_for(DIGITS, nn.Conv2d(1, 2, 3).double())
    assert fitted.arrangement == "Unflatten(1, (1, 8, 8)) -> Conv2d -> Linear(72, 10)"
    assert fitted.module(DIGITS.x[:2].double()).shape == (2, 10)
    assert model_for(DIGITS, Convolutions(10)).arrangement == "Unflatten(1, (1, 8, 8)) -> Convolutions"


def test_the_trial_moves_no_running_statistics_and_no_mode() -> None:
    module = nn.Sequential(nn.BatchNorm1d(64), nn.Linear(64, 10))
    fitted = model_for(DIGITS, module).module
    assert fitted.training
    assert int(fitted.state_dict()["0.num_batches_tracked"]) == 0


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            nn.Linear(10, 5),
            r"Linear does not fit digits: asked to map \[rows, 64\] to \[rows, 10\], it raised Runtime",
        ),
        (Squeezed, r"it gave \[rows\]; pass a module of these sizes"),
        (Pair(), "it returned tuple, not a tensor"),
        (nn.MultiheadAttention, "MultiheadAttention asks for num_heads, which digits does not decide"),
        (lambda: 3, "must give an nn.Module, not int: 3"),
        (lambda: nn.Linear(-1, 2), "raised RuntimeError"),
        (Uncopyable(64, 10), "cannot be copied .there is only one of me"),
    ],
)
def test_what_does_not_fit_is_refused_with_both_shapes(target: nn.Module, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        model_for(DIGITS, target)
