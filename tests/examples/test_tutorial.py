"""The tutorial runs as people know it, and its loop takes Layersmith's layers as they are."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

import layersmith.nn

TUTORIAL = Path(__file__).parents[2] / "examples" / "tutorial.py"


@pytest.fixture
def tutorial() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tutorial", TUTORIAL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def losses(printed: str) -> list[float]:
    return [float(number) for number in re.findall(r"loss ([\d.]+)", printed)]


def test_it_runs_on_its_own() -> None:
    done = subprocess.run([sys.executable, TUTORIAL], capture_output=True, text=True, check=True)
    assert "[32, 1]" in done.stdout
    assert len(losses(done.stdout)) == 10
    assert "layersmith" not in TUTORIAL.read_text()


def test_its_classes_have_the_names_and_shapes_that_people_know(tutorial: ModuleType) -> None:
    torch.manual_seed(0)
    model = tutorial.CustomModel(input_size=10, hidden_size=5, output_size=1)
    assert {name: tuple(value.shape) for name, value in model.named_parameters()} == {
        "layer1.weights": (10, 5),
        "layer1.bias": (5,),
        "layer2.weights": (5, 1),
        "layer2.bias": (1,),
    }
    x = torch.randn(32, 10)
    assert model.activation.scale == 0.5
    hidden = 0.5 * (x @ model.layer1.weights + model.layer1.bias).clamp(min=0)
    torch.testing.assert_close(model(x), hidden @ model.layer2.weights + model.layer2.bias)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("CustomLinearLayer", layersmith.nn.Linear),
        ("CustomReLU", layersmith.nn.ScaledReLU),
        ("CustomModel", layersmith.nn.FeedForward),
    ],
)
def test_the_same_loop_trains_each_layer_of_ours(
    tutorial: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    theirs: str,
    ours: type[torch.nn.Module],
) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(tutorial, theirs, ours)
    tutorial.main()
    printed = capsys.readouterr().out
    assert "[32, 1]" in printed
    assert losses(printed)[-1] < losses(printed)[0]
