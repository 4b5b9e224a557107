"""Training: what is learned, what is kept, and what is left alone."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from layersmith.errors import UsageError
from layersmith.nn import FeedForward
from layersmith.training import Epoch, adamw, load, train
from layersmith.training.scoring import loss, metric
from layersmith.training.split import split

TUTORIAL = Path(__file__).parents[2] / "examples" / "tutorial.py"
STEPS = 22  # 1347 rows in batches of at most 64


class Eventful(nn.Linear):
    """A linear layer to which something happens at one training step."""

    def __init__(self, step: int, event: Exception | BaseException | float) -> None:
        super().__init__(64, 10)
        self.countdown, self.event = step, event

    def forward(self, x: Tensor) -> Tensor:
        self.countdown -= self.training
        if self.training and self.countdown == 0:
            if isinstance(self.event, BaseException):
                raise self.event
            return super().forward(x) * self.event
        return super().forward(x)


class Forgetful(nn.Linear):
    """Learns for three epochs, then unlearns: its best epoch is the third."""

    steps = 0

    def forward(self, x: Tensor) -> Tensor:
        self.steps += self.training
        return (
            super().forward(x) if self.steps <= 3 * STEPS or not self.training else -20 * super().forward(x)
        )


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.head(self.second(self.first(x).relu()).relu())
        return output


def raising_at(epoch: int) -> Callable[[Epoch], None]:
    def on_epoch(record: Epoch) -> None:
        if record.epoch == epoch:
            raise KeyboardInterrupt

    return on_epoch


@pytest.mark.parametrize("seed", range(5))
def test_feed_forward_reaches_96_percent_on_digits(seed: int) -> None:
    report = train(FeedForward, seed=seed, baseline=False)
    assert report.best is not None
    assert report.best.validation_metric >= 0.96


def test_the_tutorials_own_model_falls_behind_the_baseline() -> None:
    report = train(f"{TUTORIAL}::CustomModel", epochs=8)
    assert report.name == "CustomModel"
    assert report.best is not None
    assert report.baseline is not None
    assert report.baseline.best is not None
    assert report.best.validation_metric < report.baseline.best.validation_metric - 0.1
    assert "too close" not in report.verdict


def test_a_regression_is_learned_and_judged_by_r2() -> None:
    x = torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
    y = 100 + 30 * x[:, 0] * x[:, 1] + 5 * x[:, 2]
    report = train(FeedForward, (x, y), epochs=60, baseline=False)
    assert (report.metric, report.task) == ("R2", "regression")
    assert report.best is not None
    assert report.best.validation_metric > 0.7
    with torch.no_grad():
        answers = report.scaling.outputs(report.model(report.scaling.inputs(x)))[:, 0]
    assert metric(answers, y) > 0.7


def test_a_model_may_leave_out_the_dimension_of_its_one_output() -> None:
    x = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    y = 2 * x[:, 0] - x[:, 1]
    report = train(lambda: nn.Sequential(nn.Linear(3, 1), nn.Flatten(0)), (x, y), optimizer=adamw(0.1))
    assert report.best is not None
    assert report.best.validation_metric > 0.9
    assert report.arrangement == ""


def test_the_model_in_the_report_has_the_best_weights() -> None:
    report = train(Forgetful, epochs=6, seed=1, baseline=False)
    validation = split(load("digits"), seed=1).validation
    with torch.no_grad():
        answers = report.model(validation.x)
    assert report.best is not None
    assert report.best == max(report.history, key=lambda record: record.rank)
    assert report.best.epoch == 3
    assert metric(answers, validation.y) == report.best.validation_metric
    assert float(loss(answers, validation.y)) == pytest.approx(report.best.validation_loss)
    assert not report.model.training


def test_what_the_user_holds_stays_as_it_is() -> None:
    module = nn.Sequential(nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 10)).eval()
    before = copy.deepcopy(module.state_dict())
    x, y = load("digits").x.clone(), load("digits").y
    report = train(module, (x, y), epochs=1, baseline=False)
    after = module.state_dict()
    assert all(before[name].equal(after[name]) for name in before)
    assert not module.training
    assert all(parameter.grad is None for parameter in module.parameters())
    assert report.model is not module
    assert not report.model.state_dict()["0.weight"].equal(before["0.weight"])
    assert x.equal(load("digits").x)


def test_the_generators_of_the_user_are_restored() -> None:
    module = nn.Sequential(nn.Dropout(), nn.Linear(64, 10))
    torch_state, numpy_state, python_state = torch.get_rng_state(), numpy_numbers(), random.getstate()
    train(module, epochs=1)
    assert torch.get_rng_state().equal(torch_state)
    assert numpy_numbers() == numpy_state
    assert random.getstate() == python_state


def numpy_numbers() -> list[int]:
    numbers: list[int] = np.random.get_state(legacy=False)["state"]["key"].tolist()
    return numbers


def test_the_same_seed_gives_the_same_history_with_or_without_baseline() -> None:
    def target() -> nn.Module:
        return nn.Sequential(nn.Linear(64, 16), nn.Dropout(), nn.ReLU(), nn.Linear(16, 10))

    torch.manual_seed(1)
    first = train(target, epochs=2)
    torch.manual_seed(2)
    again, alone, other = (
        train(target, epochs=2),
        train(target, epochs=2, baseline=False),
        train(target, epochs=2, seed=5),
    )
    assert first.run == again.run == alone.run
    assert first.baseline == again.baseline
    assert first.history != other.history
    assert alone.baseline is None


def test_an_import_that_draws_numbers_does_not_move_the_seed(tmp_path: Path) -> None:
    file = tmp_path / "drawing.py"
    file.write_text(
        "import torch\nfrom torch import nn\ntorch.rand(3)\ndef build(): return nn.Linear(64, 10)\n"
    )
    first, cached = (train(f"{file}::build", epochs=1, baseline=False) for _ in range(2))
    assert first.run == cached.run


def test_an_equal_model_has_an_equal_history_beside_it() -> None:
    report = train(lambda: nn.Sequential(nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 10)), epochs=2)
    assert report.baseline is not None
    assert report.baseline.history == report.history
    assert "too close to call on 450 rows" in report.verdict


def test_each_epoch_is_told() -> None:
    told: list[Epoch] = []
    report = train(nn.Linear(64, 10), epochs=3, on_epoch=told.append)
    assert tuple(told) == report.history
    assert [record.epoch for record in told] == [1, 2, 3]
    assert told[2].train_loss < told[0].train_loss
    assert all(record.seconds > 0 for record in told)


def test_control_c_keeps_what_there_is() -> None:
    report = train(FeedForward, epochs=9, on_epoch=raising_at(2))
    assert report.interrupted
    assert len(report.history) == 2
    assert report.baseline is not None
    assert len(report.baseline.history) == 2
    assert report.best in report.history


def test_control_c_within_an_epoch_keeps_the_finished_ones() -> None:
    report = train(Eventful(STEPS + 3, KeyboardInterrupt()), epochs=9)
    assert report.interrupted
    assert len(report.history) == 1
    with torch.no_grad():
        answers = report.model(split(load("digits")).validation.x)
    assert report.best is not None
    assert metric(answers, split(load("digits")).validation.y) == report.best.validation_metric


def test_control_c_before_the_first_epoch_is_a_report_too() -> None:
    report = train(Eventful(3, KeyboardInterrupt()), epochs=9)
    assert report.interrupted
    assert report.best is None
    assert report.verdict == "no epoch was finished"


@pytest.mark.parametrize("event", [float("nan"), float("inf")])
@pytest.mark.parametrize("step", [1, STEPS, STEPS + 8])
def test_a_loss_that_is_not_finite_ends_the_run_at_its_step(step: int, event: float) -> None:
    report = train(Eventful(step, event), epochs=4)
    assert report.run.diverged_at == step
    assert len(report.history) == (step - 1) // STEPS
    assert f"no longer finite at step {step}" in report.verdict
    assert not report.interrupted
    assert report.baseline is not None
    assert len(report.baseline.history) == 4, "the baseline goes on: was it the model or the learning rate?"


def test_weights_that_break_at_the_last_step_are_noticed_in_validation() -> None:
    target = nn.Sequential(nn.Linear(64, 16), nn.Linear(16, 10))
    report = train(target, epochs=2, batch_size=2000, optimizer=lambda p: torch.optim.SGD(p, lr=1e38))
    assert report.run.diverged_at == 1
    assert report.history == ()


def test_an_error_of_the_users_own_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        train(Eventful(3, ZeroDivisionError()), epochs=1)


def test_frozen_parameters_stay_and_tied_ones_stay_tied() -> None:
    model = Tied()
    model.head.requires_grad_(requires_grad=False)
    trained = train(model, epochs=1, baseline=False).model
    assert isinstance(trained, Tied)
    assert trained.head.weight.equal(model.head.weight)
    assert trained.first.weight is trained.second.weight
    assert not trained.first.weight.equal(model.first.weight)


def test_it_trains_in_double_and_inside_no_grad() -> None:
    with torch.no_grad():
        report = train(nn.Linear(64, 10).double(), epochs=1)
    assert report.model.weight.dtype == torch.float64
    assert report.history[0].train_metric > 0.3
    assert not torch.is_inference_mode_enabled()


def test_another_optimizer_is_used() -> None:
    made: list[torch.optim.Optimizer] = []

    def sgd(parameters: object) -> torch.optim.Optimizer:
        made.append(torch.optim.SGD(parameters, lr=0.1))  # type: ignore[arg-type]
        return made[-1]

    report = train(nn.Linear(64, 10), epochs=1, optimizer=sgd)
    assert len(made) == 2, "one for the model, one for the baseline"
    assert made[0].param_groups[0]["params"][0] is report.model.weight


def test_complex_parameters_can_be_trained() -> None:
    class Spectrum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(33, 10, dtype=torch.complex64) / 8)

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = (torch.fft.rfft(x) @ self.weight).real
            return output

    assert train(Spectrum, epochs=1, baseline=False).history[0].train_metric > 0.2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"batch_size": -1}, "batch_size must be at least 1, not -1"),
        ({"data": "mnist"}, "no data set 'mnist'"),
        ({"validation_share": 2}, "between 0 and 1"),
        ({"target": nn.Linear(5, 5)}, r"\[rows, 64\] to \[rows, 10\]"),
        ({"target": nn.Linear(64, 10).requires_grad_(requires_grad=False)}, "Linear has nothing to train"),
    ],
)
def test_a_wrong_request_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        train(**{"target": FeedForward, **options})  # type: ignore[arg-type]


def test_a_learning_rate_that_is_not_positive_is_refused() -> None:
    with pytest.raises(UsageError, match="more than 0, not -1"):
        adamw(-1)


def test_the_report_is_ready_for_json() -> None:
    report = train(FeedForward, epochs=2)
    assert report.best is not None
    found = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert (found["name"], found["data"], found["metric"], found["schema"]) == (
        "FeedForward",
        "digits",
        "accuracy",
        1,
    )
    assert found["rows"] == {"train": 1347, "validation": 450}
    assert found["model"]["best_metric"] == report.best.validation_metric
    assert found["model"]["diverged_at"] is None
    assert [record["epoch"] for record in found["baseline"]["history"]] == [1, 2]
    assert str(report) == f"FeedForward on digits: {report.verdict}"
