"""No starting value may keep the gradient from ever reaching a parameter.

## Why it matters
A factor of zero lets no gradient through to the other factors. One is sound: it gets a gradient itself, moves, and opens
the way (zero-initialised branches, ReZero, LoRA with B = 0). Two on the same path wait for each other for ever, and so
does a zero in front of a ReLU, whose slope at 0 is 0. The loss falls a little, for what lies behind still learns.

## How it is tested
Where a trainable parameter other than a bias is all zeros, a copy is trained for some steps under random
objectives, until no further parameter is reached. Those on the graph whose gradient was exactly zero at every step are
reported, if they are reached once the zeros are replaced by small numbers.

## How to fix it
Start one of the factors at zero, draw the other: `nn.init.kaiming_uniform_(self.lora_a)`, `nn.init.zeros_(self.lora_b)`.

## How to reproduce it
    objective = torch.randn_like(run())
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    for step in range(9):
        optimizer.zero_grad()
        (run() * objective).sum().backward()
        optimizer.step()
    blocked = [name for name, p in module.named_parameters() if name == where and not p.count_nonzero()]
    assert not blocked, f"{where} is still zero after nine steps"
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import reading
from layersmith.probe.first_steps import SMALLEST, unreached
from layersmith.probe.variations import varied
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

BIAS = re.compile(r"bias|beta|shift", re.IGNORECASE)


@rule(
    severity=Severity.ERROR,
    since="0.1",
    promise=Promise.READY_TO_LEARN,
    after=("forward-raises", "reseeds-global-rng"),
)
def blocked_at_init(case: Case) -> Iterator[Finding]:
    """Train a little; what stays at zero though a gradient could reach it is blocked."""
    zeros = [
        name
        for name, parameter in case.module.named_parameters()
        if parameter.requires_grad
        and parameter.numel()
        and not BIAS.search(name.rpartition(".")[2])
        and not bool(parameter.count_nonzero())
    ]
    if not zeros:
        return
    blocked = _blocked(case.fresh(training=True))
    if not blocked & set(zeros):
        return
    opened = case.fresh(training=True)
    with torch.no_grad():
        for name in zeros:
            opened.module.get_parameter(name).uniform_(SMALLEST, 3 * SMALLEST)
    freed = blocked - _blocked(opened)
    guilty = [name for name in zeros if name in freed]
    if guilty:
        yield _finding(case.module, guilty, len(freed))


def _blocked(case: Case) -> set[str]:
    try:
        return unreached(case.module, varied(case.inputs)[:1])
    except RuntimeError as error:
        raise NotApplicable(f"it cannot be trained on these inputs: {error!s:.100}") from error


def _finding(module: nn.Module, guilty: list[str], count: int) -> Finding:
    file, line = reading.drawn_line(module, guilty[-1])
    more = guilty[1:-1]
    what = (
        guilty[0] if len(guilty) == 1 else f"{guilty[0]}{f', {len(more)} more' * bool(more)} and {guilty[-1]}"
    )
    return Finding(
        f"{what} {'is' if len(guilty) == 1 else 'are'} zero at first and for ever: no gradient reaches {count} "
        "parameters, however long the others are trained",
        where=guilty[-1],
        file=file,
        line=line,
        fix="let one factor of a product start at zero, not both, and none before a ReLU: draw "
        f"{guilty[0]} with nn.init.kaiming_uniform_ or nn.init.normal_(std=0.02)",
        numbers={"parameters": count},
    )


@blocked_at_init.bad("lora_a and lora_b are zero at first and for ever")
class BothFactorsZero(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.lora_a = nn.Parameter(torch.zeros(6, 2))
        self.lora_b = nn.Parameter(torch.zeros(2, 6))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + x @ self.lora_a @ self.lora_b


@blocked_at_init.bad("last.weight is zero at first and for ever")
class ZeroBeforeReLU(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.last = nn.Linear(6, 6)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.relu(self.last(self.first(x)))


@blocked_at_init.good
class OneFactorZero(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.lora_a = nn.Parameter(torch.randn(6, 2) / 6**0.5)
        self.lora_b = nn.Parameter(torch.zeros(2, 6))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + x @ self.lora_a @ self.lora_b


@blocked_at_init.good
class GatesInGates(nn.Module):
    """Three zeros, one behind the other only in time: each opens the next."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(6))
        self.last = nn.Linear(6, 6)
        self.head = nn.Linear(6, 3)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.head.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.last(x)
        return self.head(x * (1 + self.scale))
