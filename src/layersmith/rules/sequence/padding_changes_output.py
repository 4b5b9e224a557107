"""More padding must not change the outputs of what is valid.

## Why it matters
The same sentence gets another answer in a batch with a longer one. It is not seen in training, where
everything is padded alike, but the answers at batch size 1, and after sorting by length, are others.

## How it is tested
Where forward takes a mask or lengths and obeys it: the valid steps alone, with nothing hidden, against the
same steps followed by padding that is hidden. The outputs at the valid steps (or the one output of all)
must agree. Where forward finds the padding itself, by comparing token ids with `pad_idx` or `padding_idx`,
more such tokens are appended instead, to all rows and to all but the first; and so where its docstring speaks of
padded ids, the embedding has a `padding_idx`, ids are all that forward takes, and a recurrent layer reads them.

## How to fix it
Divide by the number of valid steps, not by the length: `(x * m).sum(1) / m.sum(1)`; give hidden scores
`-inf` before the softmax or the maximum, not 0; pack what goes through a backward RNN.

## How to reproduce it
    module.eval()
    x, keep = args[0], torch.ones(args[0].shape[:2], dtype=torch.bool)
    longer = torch.cat([x, torch.zeros_like(x[:, :3])], 1), torch.cat([keep, torch.zeros_like(keep[:, :3])], 1)
    one, other = module(x, keep), module(*longer)
    other = other[:, : x.shape[1]] if other.dim() == 3 else other
    assert torch.allclose(one, other, rtol=1e-3, atol=1e-5), "three steps of padding change what is valid"
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.observations import maskings
from layersmith.probe import closeness, masks, padding, reading
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

SUSPECT = r"mean\(|\.size\(1\)|shape\[1\]|/\s*\w|max\(|amax|softmax|pad"


@rule(
    severity=Severity.WARNING,
    since="0.1",
    promise=Promise.OBEYS_MASKS,
    after=("forward-raises", "nondeterministic-eval", "batch-leak", "mask-ignored", "mask-inverted"),
)
def padding_changes_output(case: Case) -> Iterator[Finding]:
    """Append padding, hidden or marked as such; look at the rest."""
    token = padding.token(case.module)
    if not masks.arguments(case.module) and token is None:
        raise NotApplicable("forward takes no mask, and knows no padding token")
    found = [*padding.by_masks(case.once(maskings), case.inputs, case.run_fresh)]
    if token is not None:
        found += padding.by_token(case.module, case.inputs, case.run, token)
    if not found:
        raise NotApplicable("no mask that it obeys, or padding that it tells from the rest, was found")
    opened = [(how, gap) for how, gap in found if gap.is_open]
    if opened and not padding.fills_in(case.once(maskings), case.module, case.inputs):
        yield _finding(case, *opened[0])


def _finding(case: Case, how: str, gap: closeness.Gap) -> Finding:
    file, line = reading.line_with(case.module, rf"^(?!\s*def\b).*({SUSPECT})")
    return Finding(
        f"padding changes what is valid: outputs moved by {gap.max_abs:.2g} when hidden steps were appended ({how}), "
        f"limit {gap.limit:.2g}",
        "output",
        file,
        line,
        fix="divide by the number of valid steps, hide scores with -inf, pack sequences for a backward RNN",
        numbers={"max_abs": gap.max_abs, "limit": gap.limit},
    )


def _sequence() -> Tensor:
    return torch.randn(3, 7, 6)


def _masked() -> tuple[Tensor, Tensor]:
    return torch.randn(3, 7, 6), torch.arange(7) < torch.tensor([[4], [3], [2]])


@padding_changes_output.bad("padding changes what is valid", inputs=_sequence)
class MeanOverAllSteps(nn.Module):
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is not None:
            x = x * mask.unsqueeze(-1)
        return x.mean(1)


@padding_changes_output.bad("mask", inputs=_sequence)
class MaximumWithZeros(nn.Module):
    def forward(self, x: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        if padding_mask is not None:
            x = x.masked_fill(padding_mask.unsqueeze(-1), 0.0)
        return x.amax(1)


@padding_changes_output.bad("pad_idx", inputs=lambda: torch.randint(1, 9, (3, 7)))
class EmbeddingMeanOverAllSteps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pad_idx = 0
        self.embedding = nn.Embedding(9, 6, padding_idx=0)

    def forward(self, ids: Tensor) -> Tensor:
        valid = (ids != self.pad_idx).unsqueeze(-1)
        return (self.embedding(ids) * valid).mean(1)


@padding_changes_output.bad("pad_id", inputs=lambda: torch.randint(1, 9, (3, 7)))
class ReadsTheLastStepOfTheLongest(nn.Module):
    """Alone, or among rows of one length, each is read where it ends."""

    def __init__(self) -> None:
        super().__init__()
        self.pad_id = 0
        self.embedding = nn.Embedding(9, 6, padding_idx=0)

    def forward(self, ids: Tensor) -> Tensor:
        count = int(ids.ne(self.pad_id).sum(1).clamp(min=1).max())
        return self.embedding(ids).cumsum(1)[:, count - 1] / count


@padding_changes_output.bad("pad_idx", inputs=lambda: torch.randint(1, 9, (3, 7)))
class ReadsTheLastStep(nn.Module):
    """Right-padded item ids, (batch, time)."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 6, padding_idx=0)
        self.gru = nn.GRU(6, 6, batch_first=True)

    def forward(self, ids: Tensor) -> Tensor:
        return self.gru(self.embedding(ids))[0][:, -1]


def _tagged() -> tuple[Tensor, Tensor, Tensor]:
    return torch.randn(3, 7, 6), torch.randint(6, (3, 7)), torch.ones(3, 7, dtype=torch.bool)


@padding_changes_output.bad("padding changes what is valid", inputs=_tagged)
class CountsHiddenTags(nn.Module):
    """The score of its tags, less the largest that others would have: which goes on where nothing is."""

    def forward(self, scores: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
        given = scores.gather(2, tags.unsqueeze(2)).squeeze(2) * mask
        best = (scores * mask.unsqueeze(2)).logsumexp(2)
        return (best - given).sum(1)


@padding_changes_output.good(inputs=_tagged)
class CountsTagsThatAreThere(nn.Module):
    def forward(self, scores: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
        given = scores.gather(2, tags.unsqueeze(2)).squeeze(2)
        return ((scores.logsumexp(2) - given) * mask).sum(1)


@padding_changes_output.good(inputs=_masked)
class MaskTokenForHiddenSteps(nn.Module):
    """Hidden steps take part, as a learned token: they are to be reconstructed."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(6))
        self.attend = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = torch.where(mask.unsqueeze(-1), self.token, x)
        return self.attend(x, x, x, need_weights=False)[0]


@padding_changes_output.good(inputs=_sequence)
class MeanOverValidSteps(nn.Module):
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is None:
            return x.mean(1)
        valid = mask.unsqueeze(-1).to(x.dtype)
        return (x * valid).sum(1) / valid.sum(1).clamp(min=1)


@padding_changes_output.good(inputs=lambda: torch.randint(1, 9, (3, 7)))
class EmbeddingMeanOverTokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pad_idx = 0
        self.embedding = nn.Embedding(9, 6, padding_idx=0)

    def forward(self, ids: Tensor) -> Tensor:
        valid = (ids != self.pad_idx).unsqueeze(-1)
        return (self.embedding(ids) * valid).sum(1) / valid.sum(1).clamp(min=1)


@padding_changes_output.good(inputs=lambda: torch.randint(1, 9, (3, 7)))
class PadsWhatItGenerates(nn.Module):
    """Knows the token for what it gives out; forward takes sequences that are full."""

    def __init__(self) -> None:
        super().__init__()
        self.pad_idx = 0
        self.embedding = nn.Embedding(9, 6)

    def forward(self, ids: Tensor) -> Tensor:
        return self.embedding(ids).mean(1)

    def lengths(self, ids: Tensor) -> Tensor:
        return (ids != self.pad_idx).sum(1)


@padding_changes_output.good(inputs=lambda: torch.randint(1, 9, (3, 7)))
class PredictsTheNextToken(nn.Module):
    """The last valid token is a label in a row that ends there, and seen where padding follows."""

    def __init__(self) -> None:
        super().__init__()
        self.pad_idx = 0
        self.embedding = nn.Embedding(9, 6, padding_idx=0)
        self.head = nn.Linear(6, 9)

    def forward(self, ids: Tensor) -> Tensor:
        seen, labels = ids[:, :-1], ids[:, 1:]
        x, valid = self.embedding(seen), (seen != self.pad_idx).unsqueeze(-1)
        x = x + (x * valid).sum(1, keepdim=True) / valid.sum(1, keepdim=True).clamp(min=1)
        return nn.functional.cross_entropy(self.head(x).mT, labels, ignore_index=self.pad_idx)


@padding_changes_output.good(inputs=lambda: torch.randint(1, 9, (3, 7)))
class ReadsTheLastValidStep(nn.Module):
    """Right-padded item ids, (batch, time); 0 is padding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 6, padding_idx=0)
        self.gru = nn.GRU(6, 6, batch_first=True)

    def forward(self, ids: Tensor) -> Tensor:
        last = ((ids != 0).sum(1) - 1).clamp(min=0)
        out = self.gru(self.embedding(ids))[0]
        return out.gather(1, last[:, None, None].expand(-1, 1, out.shape[-1])).squeeze(1)


@padding_changes_output.good(inputs=lambda: torch.randint(1, 9, (3, 7)))
class TakesTheLargestOfEachFilter(nn.Module):
    """ids: (batch, time), 0 is padding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 6, padding_idx=0)
        self.conv = nn.Conv1d(6, 4, 3, padding=1)

    def forward(self, ids: Tensor) -> Tensor:
        return self.conv(self.embedding(ids).mT).relu().amax(-1)
