"""`layersmith train` on the command line."""

from __future__ import annotations

import argparse
import inspect
import json
from pathlib import Path

import pytest

from layersmith.cli import train as command
from layersmith.cli.main import main
from layersmith.training import adamw, train

FILE = """
print("imported")
import torch
from torch import nn

class Layer(nn.Module):
    def __init__(self, in_features, out_features):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(in_features, out_features))
    def forward(self, x): return x @ self.weight

class Model(nn.Module):
    def __init__(self, input_size, hidden_size, output_size):
        super().__init__()
        self.layers = nn.Sequential(Layer(input_size, hidden_size), Layer(hidden_size, output_size))
    def forward(self, x):
        return self.layers(x)
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "trained.py"
    path.write_text(FILE, encoding="utf-8")
    return str(path)


def test_a_file_is_trained_and_its_weights_are_kept(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "best.safetensors"
    assert main(["train", f"{file}::Model", "--epochs", "2", "--output", str(weights)]) == 0
    written, told = capsys.readouterr()
    assert "Model on digits" in written
    assert "baseline" in written
    assert str(weights) in written.replace("\n", "")
    assert weights.exists()
    assert "imported" in told, "what the user's code prints does not mix with the report"


def test_json_is_all_that_stdout_gets(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = [
        "--format",
        "json",
        "--epochs",
        "1",
        "--seed",
        "4",
        "--batch-size",
        "500",
        "--lr",
        "0.01",
        "--no-baseline",
    ]
    assert main(["train", f"{file}::Model", "--format", "json", *options]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["name"], report["seed"], report["baseline"]) == ("Model", 4, None)
    assert len(report["model"]["history"]) == 1


def test_a_regression_has_its_own_data(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")
    assert main(["train", "layersmith.nn:FeedForward", "--data", "diabetes", "--epochs", "2"]) == 0
    assert "R2" in capsys.readouterr().out


def test_a_loss_that_diverges_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "torch.nn:Linear", "--lr", "1e30", "--epochs", "2"]) == 1
    assert "no longer finite" in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.py"], "no such file: missing.py"),
        (["torch.nn:Linear", "--data", "mnist"], "digits or diabetes"),
        (["torch.nn:Linear", "--epochs", "0"], "epochs must be at least 1"),
        (["torch.nn:Linear", "--lr", "0"], "learning rate must be more than 0"),
        (["torch.nn:Linear", "--output", "missing/w"], "missing/w"),
        (["torch.nn:MultiheadAttention"], "num_heads"),
    ],
)
def test_a_wrong_request_exits_with_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *arguments]) == 2
    written, told = capsys.readouterr()
    assert message in told
    assert written == ""


def test_control_c_is_reported_and_told_by_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from layersmith import nn

    def interrupt(self: object, x: object) -> None:
        raise KeyboardInterrupt

    plain = nn.FeedForward.forward
    monkeypatch.setattr(
        nn.FeedForward, "forward", lambda self, x: interrupt(self, x) if self.training else plain(self, x)
    )
    assert main(["train", "layersmith.nn:FeedForward"]) == 130
    assert "interrupted after 0 finished epochs" in capsys.readouterr().out


def test_the_defaults_are_those_of_the_function() -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    found = parser.parse_args(["target"])
    defaults = {key: p.default for key, p in inspect.signature(train).parameters.items()}
    for name in ("data", "epochs", "batch_size", "seed", "output"):
        assert getattr(found, name) == defaults[name]
    assert found.no_baseline is not defaults["baseline"]
    assert found.lr == inspect.signature(adamw).parameters["learning_rate"].default
