"""Noise times what its name calls a variance: almost surely wrong where a divergence takes it for one, else a note."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from layersmith import runner
from layersmith.finding import Severity
from layersmith.load.build import subject_of_factory
from layersmith.load.importing import import_target
from layersmith.load.target import Target
from layersmith.registry import load

SAMPLES = """
import torch
from torch import nn

class Samples(nn.Module):
    def __init__(self):
        super().__init__()
        self.heads = nn.Linear(6, 8)

    def forward(self, x):
        mu, logvar = self.heads(x).chunk(2, dim=-1)
        {logvar}
        std = {std}
        return mu + std * torch.randn_like(mu) if self.training else mu
"""
DIVERGENCE = """
def divergence(mu, logvar):
    return -0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum(-1)
"""
PLAIN, ROOT = "torch.exp(logvar)", "torch.exp(0.5 * logvar)"


@pytest.mark.parametrize(
    ("logvar", "std", "rest", "severities"),
    [
        ("", PLAIN, DIVERGENCE, [None]),
        ("", PLAIN, "", [Severity.NOTE]),
        ("", ROOT, DIVERGENCE, []),
        ("", "torch.exp(logvar).sqrt()", DIVERGENCE, []),
        ("logvar = 0.5 * logvar", PLAIN, DIVERGENCE, []),
    ],
)
def test_a_variance_is_told_as_surely_as_the_file_says_that_it_is_one(
    logvar: str, std: str, rest: str, severities: list[Severity | None], tmp_path: Path
) -> None:
    file = tmp_path / "samples.py"
    file.write_text(SAMPLES.format(logvar=logvar, std=std) + rest)
    module = import_target(Target(str(file)))
    result = runner.ask(subject_of_factory(module.Samples, torch.randn(4, 6)), load("variance-as-deviation"))
    assert [finding.severity for finding in result.findings] == severities
