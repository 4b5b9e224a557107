"""Wrong alarms on classes that ordinary repositories have, found by reading what was said of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import layersmith
from layersmith import runner
from layersmith.finding import Result, Severity
from layersmith.load.build import subject_of_class
from layersmith.registry import load


def _asked(cls: type[nn.Module], rule: str, **given: Any) -> Result:
    return runner.ask(subject_of_class(cls, **given), load(rule))


class Pendulum(nn.Module):
    """The right-hand side of an equation, which a solver calls with time and state."""

    def __init__(self) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(0.3))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return torch.cat([y[..., 1:2], -self.rate * y[..., 0:1].sin()], -1)


class TimeIsGivenLast(Pendulum):
    def forward(self, y: Tensor, t: Tensor) -> Tensor:  # type: ignore[override]
        return torch.cat([y[..., 1:2], -self.rate * y[..., 0:1].sin()], -1)


class TimeIsGivenByName(Pendulum):
    def forward(self, y: Tensor, *, t: Tensor) -> Tensor:  # type: ignore[override]
        return torch.cat([y[..., 1:2], -self.rate * y[..., 0:1].sin()], -1)


def test_an_equation_need_not_depend_on_time() -> None:
    assert not _asked(Pendulum, "ignored-input", inputs="f32[5], f32[5,2]").findings
    assert _asked(TimeIsGivenLast, "ignored-input", inputs="f32[5,2], f32[5]").findings
    assert _asked(TimeIsGivenByName, "ignored-input", inputs="f32[5,2], t=f32[5]").findings


class ChoosesForEachDialog(nn.Module):
    """What it returns of each row is a vector of as many shares as the row has steps."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(16, 1)

    def forward(self, data: Tensor) -> list[Tensor]:
        return [torch.softmax(self.score(dialog).view(-1), dim=-1) for dialog in data]


class ChoosesAmongRows(ChoosesForEachDialog):
    def forward(self, data: Tensor) -> list[Tensor]:
        shares = torch.softmax(self.score(data).squeeze(-1), dim=0)
        return [*shares.unbind(1)]


def test_a_list_of_what_each_row_gives_has_no_rows_of_its_own() -> None:
    assert not _asked(ChoosesForEachDialog, "batch-leak", inputs="f32[5,7,16]").findings
    assert _asked(ChoosesAmongRows, "batch-leak", inputs="f32[5,7,16]").findings


class MCDropout(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, 0.5, training=True)


class Sure(nn.Module):
    """Dropout that is never off, in a part that says so."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.dropout = MCDropout()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.dropout(self.linear(x))
        return y


@pytest.mark.parametrize("cls", [MCDropout, Sure])
def test_dropout_that_is_meant_to_stay_on_is_a_note(cls: type[nn.Module]) -> None:
    (found,) = _asked(cls, "nondeterministic-eval").findings
    assert found.severity is Severity.NOTE


class MaxPoolOfOneStep(nn.Module):
    def __init__(self, kernel_size: int = 3) -> None:
        super().__init__()
        self.pad = kernel_size - 1

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.max_pool1d(nn.functional.pad(x, (0, self.pad)), self.pad + 1, stride=self.pad)


def test_a_pool_of_one_number_is_a_note() -> None:
    found = _asked(MaxPoolOfOneStep, "argument-crashes", inputs="f32[5,6,9]").findings
    assert {one.severity for one in found} <= {Severity.NOTE}


def test_what_a_file_of_transforms_draws_is_a_note(tmp_path: Path) -> None:
    source = """
import torch
from torch import nn

class Shift(nn.Module):
    def forward(self, x):
        return x + 0.1 * torch.randn_like(x)
"""
    severities = {}
    for name in ("transforms", "layers"):
        (tmp_path / f"{name}.py").write_text(source)
        report = layersmith.check(str(tmp_path / f"{name}.py"), select=["nondeterministic-eval"])
        (severities[name],) = [finding.severity for *_, finding in report.findings()]
    assert severities == {"transforms": Severity.NOTE, "layers": Severity.WARNING}
