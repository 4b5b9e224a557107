"""Scores that are not to count must be -inf before a softmax, not zero.

## Why it matters
`scores.masked_fill(hidden, 0.0).softmax(-1)` gives what is hidden the weight of a score of zero, which is more than that
of every score below zero. Experts that were not chosen, edges that are not there and padding all take their share.

## How it is tested
Operations are watched while forward runs in eval mode. Reported is a softmax of scores of which a mask has set some to
zero, by `masked_fill`, `where` or a product, if the weights are not masked again afterwards. Where all that was
negative became zero, it was an activation.

## How to fix it
`scores.masked_fill(hidden, float("-inf"))`, or multiply the weights by the mask and normalise them again.

## How to reproduce it
    seen = {}
    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if "softmax" in function.__name__:
                seen["share"] = (args[0] == 0).double().mean().item()
            return result
    with Watch(): run()
    assert seen["share"] < 0.02, f"{seen['share']:.0%} of the scores are exactly zero, and count"
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe.zeroed import zeroed
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case


@rule(
    severity=Severity.WARNING,
    since="0.1",
    promise=Promise.OBEYS_MASKS,
    after=("forward-raises", "mask-ignored", "future-leak"),
)
def zeroed_scores(case: Case) -> Iterator[Finding]:
    """Watch one call; one finding a line."""
    found = {(one.file, one.line): one for one in zeroed(case.module, case.inputs)}
    for one in found.values():
        yield Finding(
            f"{one.share:.0%} of the scores are set to 0 before a softmax: one of them gets a weight of {one.weight:.2g}",
            file=one.file,
            line=one.line,
            fix='fill with float("-inf") before the softmax, or mask the weights and normalise them again',
            numbers={"share": one.share, "weight": one.weight},
        )


@zeroed_scores.bad("50% of the scores are set to 0 before a softmax", inputs=lambda: torch.randn(5, 6))
class RoutesToAll(nn.Module):
    """Of six experts the best three are meant."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.gate(x)
        chosen = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, logits.topk(3).indices, value=True)
        return logits.masked_fill(~chosen, 0.0).softmax(-1)


@zeroed_scores.bad("before a softmax", inputs=lambda: torch.randn(2, 5, 6))
class AttendsBeyondItsBand(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        band = x.new_ones(5, 5).tril(1).triu(-1)
        return (x @ x.mT * band / 6**0.5).softmax(-1) @ x


@zeroed_scores.good(inputs=lambda: torch.randn(2, 5, 6))
class HidesWithInfinity(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        band = x.new_ones(5, 5).tril(1).triu(-1)
        return (x @ x.mT).masked_fill(band == 0, float("-inf")).softmax(-1) @ x


@zeroed_scores.good(inputs=lambda: torch.randn(2, 5, 6))
class MasksTheWeightsToo(nn.Module):
    """Weights that are masked and normalised again are right whatever the scores were."""

    def forward(self, x: Tensor) -> Tensor:
        band = x.new_ones(5, 5).tril(1).triu(-1)
        weights = (x @ x.mT * band).softmax(-1) * band
        return weights / weights.sum(-1, keepdim=True) @ x


@zeroed_scores.good(inputs=lambda: torch.randn(2, 5, 6))
class WeighsActivations(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x < 0, 0.0, x).softmax(-1) * x
