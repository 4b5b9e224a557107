"""What a mere repetition changes as much is no fault of what was changed beside it."""

from __future__ import annotations

import torch

from layersmith.probe.gradients.contrast import NOISE, contrast


def test_only_gaps_beyond_those_of_a_repetition_are_wrong() -> None:
    expected = [torch.ones(4), torch.ones(4)]
    repeated = contrast([expected[0] * 1.01, expected[1]], expected, limit=1e-3)
    found = contrast([expected[0] * (1 + 0.005 * NOISE), expected[1] * 1.01], expected, limit=1e-3)
    assert found.wrong == [0, 1]
    assert found.beyond(repeated).wrong == [1]
