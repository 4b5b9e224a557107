"""A second derivative that is wrong matters where second derivatives are taken."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from layersmith import runner
from layersmith.finding import Outcome, Severity
from layersmith.load.build import subject_of_factory
from layersmith.load.importing import import_target
from layersmith.load.target import Target
from layersmith.registry import load

SOFT_SIGN = """
import torch
from torch import nn

class SoftSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        size = 1 + x.abs()
        ctx.save_for_backward({saved})
        return x / size

    @staticmethod
    def backward(ctx, gradient):
        (kept,) = ctx.saved_tensors
        return gradient * {slope}

class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x):
        return SoftSign.apply(self.linear(x))
"""
PENALTY = """
def penalty(critic, x):
    (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph={flag})
    return (gradient.norm(dim=1) - 1).square().mean()
"""
SLOPE_KEPT, INPUT_KEPT = ("1 / size**2", "kept"), ("x", "(1 + kept.abs()) ** -2")


@pytest.mark.parametrize(
    ("kept", "penalty", "severity"),
    [
        (SLOPE_KEPT, "", Severity.NOTE),
        (SLOPE_KEPT, PENALTY.format(flag="False"), Severity.NOTE),
        (SLOPE_KEPT, PENALTY.format(flag="True"), Severity.WARNING),
        (SLOPE_KEPT, "# its residual is that of a physics-informed network\n", Severity.WARNING),
        (INPUT_KEPT, PENALTY.format(flag="True"), None),
    ],
)
def test_a_file_with_a_gradient_penalty_is_warned(
    kept: tuple[str, str], penalty: str, severity: Severity | None, tmp_path: Path
) -> None:
    file = tmp_path / "critics.py"
    file.write_text(SOFT_SIGN.format(saved=kept[0], slope=kept[1]) + penalty)
    module = import_target(Target(str(file)))
    result = runner.ask(subject_of_factory(module.Critic, torch.randn(4, 6)), load("wrong-double-backward"))
    assert result.outcome is (Outcome.FAIL if severity else Outcome.PASS)
    assert [finding.severity for finding in result.findings] == ([severity] if severity else [])
