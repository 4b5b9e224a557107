"""What an output holds, however it is wrapped."""

from __future__ import annotations

import torch
from torch import distributions as D  # noqa: N812 - the name that torch's pages give it

from layersmith.probe import leaves


def test_the_logits_of_a_nested_distribution_are_found() -> None:
    logits = torch.randn(2, 3, 5, requires_grad=True)
    output = D.Independent(D.OneHotCategoricalStraightThrough(logits=logits), 1)
    found = leaves.tensors_within(output)
    assert [*leaves.leaves_behind(found)] == [id(logits)]
