"""What a module keeps of a stream's last chunk is no part of a checkpoint."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from layersmith import runner
from layersmith.finding import Outcome
from layersmith.probe.inputs import Inputs
from layersmith.registry import load
from layersmith.subject import Subject


class Stream(nn.Module):
    """Goes on where the chunk before ended."""

    context: Tensor | None

    def __init__(self, spread: float = 0.0) -> None:
        super().__init__()
        self.conv = nn.Conv1d(3, 6, 5)
        self.register_buffer("context", None, persistent=False)
        self.register_buffer("table", spread * torch.randn(6, 1), persistent=False)

    def reset(self) -> None:
        self.context = None

    def forward(self, chunk: Tensor) -> Tensor:
        context = chunk.new_zeros(*chunk.shape[:2], 4) if self.context is None else self.context
        chunk = torch.cat([context, chunk], dim=-1)
        self.context = chunk[..., -4:].detach().clone()
        return self.conv(chunk) + self.get_buffer("table")


def outcome(spread: float) -> Outcome:
    subject = Subject("Stream", lambda _: Stream(spread), lambda _: Inputs((torch.ones(4, 3, 7),)))
    return runner.ask(subject, load("state-dict-loss")).outcome


def test_what_the_next_chunk_puts_right_is_not_lost() -> None:
    assert outcome(0.0) is Outcome.SKIP


def test_what_no_chunk_puts_right_is_lost() -> None:
    assert outcome(1.0) is Outcome.FAIL
