"""Memory that nobody fills: an error of a parameter, a note of what a checkpoint is to fill."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from layersmith import runner
from layersmith.finding import Severity
from layersmith.load import project
from layersmith.load.build import subject_of_class
from layersmith.registry import rule_files, with_prerequisites

RULES = [rule for rule in with_prerequisites([*rule_files()]) if rule.group != "compile"]


class HoldsRawParameters(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(32, 32))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


class HoldsRawBuffers(nn.Module):
    scales: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scales", torch.empty(32))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scales


class IsFilledByItsUser(HoldsRawParameters):
    """Of a model that gives values to all parameters at the end of its constructor."""


class Fills(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.part = IsFilledByItsUser()
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -0.1, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        return self.part(x)


def test_what_another_class_of_the_file_fills_is_a_note() -> None:
    rule = next(rule for rule in RULES if rule.id == "unseeded-init")
    for cls, severities in ((IsFilledByItsUser, [Severity.NOTE]), (Fills, [])):
        result = runner.ask(subject_of_class(cls, inputs="f32[5,32]"), rule)
        assert [result.severity_of(finding) for finding in result.findings] == severities


@pytest.mark.parametrize(
    ("cls", "severity"), [(HoldsRawParameters, Severity.ERROR), (HoldsRawBuffers, Severity.NOTE)]
)
def test_raw_memory_is_told_once(cls: type[nn.Module], severity: Severity) -> None:
    found = {result.rule: result for result in runner.run(subject_of_class(cls), RULES)}
    told = found.pop("unseeded-init")
    assert [told.severity_of(one) for one in told.findings] == [severity]
    assert not any(result.findings for result in found.values())


@pytest.mark.parametrize(("trains", "loads"), [(False, True), (True, True), (False, False)])
def test_a_project_that_loads_weights_and_trains_none(tmp_path: Path, trains: bool, loads: bool) -> None:
    (tmp_path / "README.md").touch()
    (tmp_path / "model.py").write_text("import torch\n")
    (tmp_path / "generate.py").write_text("model.load_state_dict(checkpoint)\n" if loads else "")
    (tmp_path / "train.py").write_text("loss.backward()\n" if trains else "")
    assert project.only_loads_weights(tmp_path / "model.py") is (loads and not trains)
