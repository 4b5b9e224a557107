"""Forward must not detach what a parameter needs to learn.

## Why it matters
`h = self.encoder(x).detach()` gives the right values and cuts every gradient behind it: the encoder never learns.

## How it is tested
The module is called in train mode and every `detach()` of a tensor with a gradient is noted. It is reported where a
trainable parameter behind it reaches no output by another way, though its value matters. Stop-gradient idioms,
detached statistics and states, and whatever runs under `no_grad` pass, as do targets, teachers and moving averages.

## How to fix it
Delete the `.detach()`; where it is meant, freeze the parameters behind it: `encoder.requires_grad_(False)`.

## How to reproduce it
    run().sum().backward()
    cut = [name for name, p in module.named_parameters() if p.requires_grad and p.grad is None]
    assert not cut, f"no gradient reaches {cut}"
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.observations import departures
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.PLAIN_CODE)
def detach_in_forward(case: Case) -> Iterator[Finding]:
    """Blame the line behind which a parameter is cut off."""
    if case.subject.doubt:
        raise NotApplicable("what is cut off may be what stands in for something else")
    seen = case.once(departures)
    for found in seen.cut_off("detach"):
        yield Finding(
            f"detach() cuts off {found.named}: no gradient reaches {found.count} trainable numbers",
            where=found.paths[0],
            file=found.file,
            line=found.line,
            fix="delete .detach(), or freeze what is behind it by requires_grad_(False)",
            numbers={"trainable_numbers": found.count},
        )


@detach_in_forward.bad("detach() cuts off encoder.weight, encoder.bias")
class DetachesItsEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(6, 6)
        self.decoder = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x).relu().detach())


@detach_in_forward.bad("detach() cuts off score.weight")
class DetachesItsWeights(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(6, 6, bias=False)
        self.value = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.score(x).softmax(-1).detach()
        return weights * self.value(x)


@detach_in_forward.good
class KeepsItsLastOutput(nn.Module):
    """What is kept for a look from outside may be detached: the output is not."""

    last: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.register_buffer("last", torch.zeros(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        if self.training:
            self.last = y.detach().mean()
        return y
