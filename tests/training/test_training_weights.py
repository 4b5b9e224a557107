"""The file of the best weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_model, save_file
from torch import Tensor, nn

from layersmith.errors import UsageError
from layersmith.nn import FeedForward
from layersmith.training import Epoch, load, scaling_of, train


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.head(self.second(self.first(x).relu()).relu())
        return output


class WithNotes(nn.Linear):
    def get_extra_state(self) -> str:
        return "no tensor"

    def set_extra_state(self, state: Any) -> None:
        pass


@pytest.mark.parametrize("build", [lambda: FeedForward(64, 64, 10), Tied])
def test_weights_come_back_and_give_the_same_outputs(build: Any, tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    report = train(build, epochs=2, output=path)
    assert report.weights_path == path
    fresh = build().eval()
    load_model(fresh, path)
    x = scaling_of(path).inputs(load("digits").x[:20])
    with torch.no_grad():
        assert fresh(x).equal(report.model(report.scaling.inputs(load("digits").x[:20])))


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    report = train(FeedForward, epochs=2, seed=3, output=tmp_path / "best.safetensors", baseline=False)
    with safe_open(str(tmp_path / "best.safetensors"), framework="pt") as file:
        metadata = file.metadata()
    assert report.best is not None
    assert (metadata["class"], metadata["data"], metadata["seed"]) == ("FeedForward", "digits", "3")
    assert float(metadata["accuracy"]) == report.best.validation_metric
    assert int(metadata["epoch"]) == report.best.epoch


def test_the_scaling_of_a_regression_comes_back(tmp_path: Path) -> None:
    x = torch.randn(40, 2, 3, generator=torch.Generator().manual_seed(0))
    report = train(
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(6, 2)),
        (x, x[:, 0, :2]),
        epochs=1,
        output=tmp_path / "w",
    )
    scaling = scaling_of(tmp_path / "w")
    assert scaling.y_mean is not None
    assert scaling.y_std is not None
    assert report.scaling.y_std is not None
    assert scaling.y_std.equal(report.scaling.y_std)
    assert scaling.x_mean.equal(report.scaling.x_mean)
    assert scaling.x_mean.shape == (2, 3)


def test_control_c_still_saves_the_best_weights(tmp_path: Path) -> None:
    def interrupt(record: Epoch) -> None:
        if record.epoch == 2:
            raise KeyboardInterrupt

    report = train(FeedForward, epochs=9, output=tmp_path / "w", on_epoch=interrupt, baseline=False)
    assert report.interrupted
    fresh = FeedForward(64, 64, 10)
    load_model(fresh, tmp_path / "w")
    assert fresh.get_parameter("layers.0.weight").equal(report.model.get_parameter("layers.0.weight"))


def test_nothing_is_written_when_no_epoch_was_finished(tmp_path: Path) -> None:
    target = nn.Sequential(nn.Linear(64, 16), nn.Linear(16, 10))
    report = train(
        target, batch_size=2000, output=tmp_path / "w", optimizer=lambda p: torch.optim.SGD(p, lr=1e38)
    )
    assert report.best is None
    assert report.weights_path is None
    assert not (tmp_path / "w").exists()


def never(record: Epoch) -> None:
    pytest.fail("trained before it was refused")


def test_a_place_that_cannot_be_written_is_refused_before_training(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing" / "w"):
        with pytest.raises(UsageError, match="name a file in a folder that exists"):
            train(FeedForward, output=path, on_epoch=never)


def test_state_that_is_not_a_tensor_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="only tensors, but WithNotes also has _extra_state"):
        train(WithNotes(64, 10), output=tmp_path / "w", on_epoch=never)


def test_a_file_without_scaling_is_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(UsageError, match="not written by layersmith train"):
        scaling_of(tmp_path / "other.safetensors")
    with pytest.raises(UsageError, match="cannot be read"):
        scaling_of(tmp_path / "missing.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"broken")
    with pytest.raises(UsageError, match="cannot be read"):
        scaling_of(tmp_path / "broken.safetensors")
