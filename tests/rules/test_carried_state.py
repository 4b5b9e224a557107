"""Modules that carry a state from call to call, and say how it is put back."""

import pytest
import torch
from torch import Tensor, nn

import layersmith
from layersmith.finding import Severity


class StreamOfMagnitudes(nn.Module):
    """Spectral mask, chunk after chunk; reset() before a new recording."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(6, 6, batch_first=True)
        self.state: Tensor | None = None

    def reset(self) -> None:
        self.state = None

    def forward(self, magnitude: Tensor) -> Tensor:
        y, state = self.rnn(torch.log1p(magnitude), self.state)
        self.state = state.detach()
        return magnitude * y.sigmoid()


def test_what_a_wrong_domain_leaves_behind_spoils_no_other() -> None:
    report = layersmith.check(StreamOfMagnitudes(), torch.randn(4, 3, 6) * 3, select=["nonfinite-output"])
    assert report.ok, report


@pytest.mark.parametrize("rule", ["export-fails", "checkpoint-differs"])
def test_that_another_pass_meets_the_state_again_is_a_note(rule: str) -> None:
    report = layersmith.check(StreamOfMagnitudes(), torch.rand(4, 3, 6), select=[rule])
    assert all(finding.severity is Severity.NOTE for _, _, finding in report.findings())
