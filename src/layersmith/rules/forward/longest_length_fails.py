"""A sequence of exactly the length that the constructor was told must work.

## Why it matters
Positions that run from 1 to T, a mask that is one short, `assert T < max_len`: all that was tried were shorter
sequences, and the first one of `max_len` tokens ends the run with an index out of range.

## How it is tested
Where an argument of the constructor is a greatest length by its name (`max_len`, `block_size`,
`max_position_embeddings`), the class is built with a small one, and called with as many steps and with one less. The
first must not raise where the second works. What it refuses by `raise` or `assert`, and a module that puts a token
of its own in front, pass.

## How to fix it
`torch.arange(steps)`; a table of `max_len + 1` rows where one is kept for padding.

## How to reproduce it
    import inspect
    asked = {name: 16 for name in inspect.signature(type(module)).parameters if "max" in name}
    for steps in (15, 16):
        order = torch.arange(steps) % args[0].shape[1]
        type(module)(**asked)(args[0].index_select(1, order))
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import options, refusal, sequence, source, wording
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

LONGEST = re.compile(
    r"^(?:max_?(?:seq(?:uence)?_?)?len(?:gth)?|max_(?:positions?|position_embeddings|tokens|steps|timesteps)"
    r"|block_size|context_(?:length|len|size)|n_positions|n_ctx)$"
)
SMALL = 16
OWN_TOKEN = re.compile(r"cls|class|bos|sos|start|prefix|prompt|register|mem|special|dist")


@rule(
    severity=Severity.WARNING,
    since="0.1",
    promise=Promise.CALLABLE,
    after=("forward-raises", "argument-crashes"),
)
def longest_length_fails(case: Case) -> Iterator[Finding]:
    """Build it for few steps, and give it as many."""
    construction = case.subject.construction
    names = options.names(construction.cls) if construction is not None else []
    name = next((one for one in names if LONGEST.match(one)), "")
    if not name:
        raise NotApplicable("no argument of its constructor is a greatest length")
    if any(OWN_TOKEN.search(path.rpartition(".")[2]) for path, _ in case.module.named_parameters()):
        raise NotApplicable("a token of its own may come in front")
    layout = sequence.layout(case.module, case.inputs, case.run)
    if layout is None:
        raise NotApplicable("which axis is time cannot be told")
    try:
        small = case.subject.otherwise(**{name: SMALL}).case(seed=case.seed)
    except Exception as error:
        raise NotApplicable(f"it is not built with {name}={SMALL}: {wording.short(error)}") from error
    errors = [_error(small, layout, steps) for steps in (SMALL - 1, SMALL)]
    if errors[0] is None and errors[1] is not None and not refusal.is_refusal(errors[1]):
        yield Finding(
            f"with {name}={SMALL} forward takes {SMALL - 1} steps, and with {SMALL} it raises {wording.short(errors[1])}",
            name,
            *source.error_line(errors[1], case.module),
            fix=f"let positions run from 0, torch.arange(steps); or make room for {name} steps",
        )


def _error(case: Case, layout: sequence.Layout, steps: int) -> Exception | None:
    order = torch.arange(steps) % layout.steps
    return case.error(layout.chosen(lambda one: one.detach().index_select(layout.time, order), case.inputs))


@longest_length_fails.bad(
    "with max_len=16 forward takes 15 steps, and with 16", inputs=lambda: torch.randint(0, 9, (2, 7))
)
class CountsPositionsFromOne(nn.Module):
    def __init__(self, max_len: int = 64) -> None:
        super().__init__()
        self.token, self.position = nn.Embedding(9, 6), nn.Embedding(max_len, 6)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.token(tokens) + self.position(torch.arange(1, tokens.shape[1] + 1))


@longest_length_fails.bad("with max_seq_len=16 forward takes 15 steps", inputs=lambda: torch.randn(2, 7, 6))
class MasksOneStepLess(nn.Module):
    def __init__(self, max_seq_len: int = 64) -> None:
        super().__init__()
        self.score = nn.Linear(6, 6)
        self.register_buffer("seen", torch.ones(max_seq_len - 1, max_seq_len - 1).tril().bool())

    def forward(self, x: Tensor) -> Tensor:
        _, t, _ = x.shape
        scores = self.score(x) @ x.mT
        return scores.masked_fill(~self.get_buffer("seen")[:t, :t], -1e4).softmax(-1) @ x


@longest_length_fails.good(inputs=lambda: torch.randint(0, 9, (2, 7)))
class CountsPositionsFromZero(nn.Module):
    def __init__(self, max_len: int = 64) -> None:
        super().__init__()
        self.token, self.position = nn.Embedding(9, 6), nn.Embedding(max_len, 6)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.token(tokens) + self.position(torch.arange(tokens.shape[1], device=tokens.device))


@longest_length_fails.good(inputs=lambda: torch.randint(0, 9, (2, 7)))
class PutsATokenInFront(nn.Module):
    """Which is one of the `max_len`."""

    def __init__(self, max_len: int = 64) -> None:
        super().__init__()
        self.token, self.position = nn.Embedding(9, 6), nn.Embedding(max_len, 6)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 6))

    def forward(self, tokens: Tensor) -> Tensor:
        x = torch.cat([self.cls_token.expand(tokens.shape[0], -1, -1), self.token(tokens)], dim=1)
        return x + self.position(torch.arange(x.shape[1], device=x.device))
