"""Memory that nobody fills: an error of a parameter, a note of what a checkpoint is to fill."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from layersmith import runner
from layersmith.finding import Outcome, Result, Severity
from layersmith.load import project
from layersmith.probe.inputs import Inputs
from layersmith.registry import with_prerequisites
from layersmith.subject import Subject


class HoldsRawParameters(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(6, 6))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


class HoldsRawBuffers(nn.Module):
    scales: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scales", torch.empty(6))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scales


@pytest.mark.parametrize(
    ("cls", "severity"), [(HoldsRawParameters, Severity.ERROR), (HoldsRawBuffers, Severity.NOTE)]
)
def test_raw_memory_is_told_once(cls: type[nn.Module], severity: Severity) -> None:
    found = results(cls)
    assert [found["unseeded-init"].severity_of(one) for one in found["unseeded-init"].findings] == [severity]
    assert {found[rule].outcome for rule in ("nonfinite-output", "ignored-input")} == {Outcome.SKIP}


@pytest.mark.parametrize(("trains", "loads"), [(False, True), (True, True), (False, False)])
def test_a_project_that_loads_weights_and_trains_none(tmp_path: Path, trains: bool, loads: bool) -> None:
    (tmp_path / "README.md").touch()
    (tmp_path / "model.py").write_text("import torch\n")
    (tmp_path / "generate.py").write_text("model.load_state_dict(checkpoint)\n" if loads else "")
    (tmp_path / "train.py").write_text("loss.backward()\n" if trains else "")
    assert project.only_loads_weights(tmp_path / "model.py") is (loads and not trains)


def results(cls: type[nn.Module]) -> dict[str, Result]:
    subject = Subject(cls.__name__, lambda _: cls(), lambda _: Inputs((torch.randn(4, 6),)))
    rules = with_prerequisites(["unseeded-init", "nonfinite-output", "ignored-input"])
    return {result.rule: result for result in runner.run(subject, rules)}
