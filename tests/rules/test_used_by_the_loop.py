"""A part that another file of the project uses, as a training loop does, is no slip: forward alone does not tell."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import layersmith
from layersmith import runner
from layersmith.finding import Outcome, Severity
from layersmith.load.build import subject_of_class
from layersmith.load.importing import import_target
from layersmith.load.target import Target
from layersmith.registry import load

MODEL = """
from torch import nn

class Pretrained(nn.Module):
    def __init__(self, dim: int = 8):
        super().__init__()
        self.encoder = nn.Linear(dim, dim)
        self.pt_mlp = nn.Linear(dim, dim)

    def forward(self, x):
        return self.encoder(x)
"""
LOOP = "def step(model, x):\n    features = model(x)\n    return {}(features)\n"


@pytest.mark.parametrize(
    ("use", "severity"), [("model.pt_mlp", Severity.NOTE), ("model.encoder", Severity.ERROR)]
)
def test_what_the_loop_uses_is_but_a_note(tmp_path: Path, use: str, severity: Severity) -> None:
    (tmp_path / "README.md").touch()
    (tmp_path / "train.py").write_text(LOOP.format(use))
    file = tmp_path / f"model_of_{severity.value}.py"
    file.write_text(MODEL)
    subject = subject_of_class(import_target(Target(str(file))).Pretrained)
    result = runner.ask(subject, load("unused-parameter"))
    assert result.outcome is Outcome.FAIL
    assert [result.severity_of(finding) for finding in result.findings] == [severity]


class HoldsSomethingForTheOptimiser(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dummy = nn.Linear(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * 2


def test_what_is_called_a_dummy_is_meant_so() -> None:
    report = layersmith.check(HoldsSomethingForTheOptimiser(), torch.randn(3, 6), select=["unused-parameter"])
    assert [*report.findings()] == []
