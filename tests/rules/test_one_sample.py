"""A class that says that it takes one sample has no batch: its rows are steps, or nodes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import layersmith


class LeakyScan(nn.Module):
    """Leaky integrator over one unbatched sequence (T, width); batches are handled by `torch.func.vmap`."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        h, states = torch.zeros_like(x[0]), []
        for step in self.linear(x):
            h = 0.9 * h + 0.1 * step
            states.append(h)
        return torch.stack(states)


class MessagePassing(nn.Module):
    """Messages on a fully connected graph of N >= 2 nodes, with features h (N, width)."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.edge = nn.Linear(2 * width, width)

    def forward(self, h: Tensor) -> Tensor:
        pairs = torch.cat([h[:, None].expand(-1, len(h), -1), h[None].expand(len(h), -1, -1)], dim=-1)
        return h + self.edge(pairs).tanh().sum(1)


class NormalisesGraphs(nn.Module):
    """Each graph of a batch for itself."""

    def forward(self, x: Tensor, batch: Tensor | None = None) -> Tensor:
        groups = torch.zeros(len(x), dtype=torch.long, device=x.device) if batch is None else batch
        sums = x.new_zeros(int(groups.max()) + 1, x.shape[1]).index_add(0, groups, x)
        return x - sums[groups] / groups.bincount()[groups, None]


class KeyCache(nn.Module):
    """Hands out what it keeps, as generation reads it."""

    kept: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kept", torch.zeros(5, 4), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.kept.copy_(x.detach())


class MixesRows(MessagePassing):
    """Messages among the rows of (B, width)."""


class ReadsASentence(nn.Module):
    """As the tutorial's tagger: the axis that is a batch to the layer is of one."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, 6)

    def forward(self, x: Tensor) -> Tensor:
        steps, _ = self.lstm(x.view(len(x), 1, -1))
        return steps.view(len(x), -1)


class ReadsTimeFirst(nn.Module):
    """Keeps `batch_first` as a number."""

    def __init__(self, width: int = 4, batch_first: int = 0) -> None:
        super().__init__()
        self.linear, self.batch_first = nn.Linear(width, width), batch_first

    def forward(self, x: Tensor) -> Tensor:
        steps = torch.unbind(self.linear(x), 1 if self.batch_first else 0)
        sums = [steps[0]]
        for one in steps[1:]:
            sums.append(sums[-1] + one)
        return torch.stack(sums, 1 if self.batch_first else 0)


def test_the_steps_of_a_sentence_are_no_rows() -> None:
    assert layersmith.check(ReadsASentence(), torch.randn(5, 4), select=["batch-leak"]).ok


def test_batch_first_may_be_a_number() -> None:
    assert layersmith.check(ReadsTimeFirst(), torch.randn(7, 3, 4), select=["batch-leak"]).ok
    report = layersmith.check(ReadsTimeFirst(batch_first=1), torch.randn(7, 3, 4), select=["batch-leak"])
    assert report.ok


def test_steps_and_nodes_are_no_rows_of_a_batch() -> None:
    for module in (LeakyScan(), MessagePassing()):
        report = layersmith.check(module, torch.randn(5, 4), ignore=["compile"])
        assert not [result.rule for _, result, _ in report.findings()]


def test_an_index_of_graphs_says_that_rows_are_nodes() -> None:
    assert layersmith.check(NormalisesGraphs(), torch.randn(5, 4), select=["batch-leak"]).ok


def test_a_cache_hands_out_its_memory() -> None:
    assert layersmith.check(KeyCache(), torch.randn(5, 4), select=["overwritten-output"]).ok


def test_rows_of_a_batch_are() -> None:
    assert not layersmith.check(MixesRows(), torch.randn(5, 4), select=["batch-leak"]).ok
