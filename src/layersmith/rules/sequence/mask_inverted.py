"""A mask must hide what its name or documentation says that it hides.

## Why it matters
There are two conventions: in `nn.MultiheadAttention` True hides, in `scaled_dot_product_attention` True
keeps. A layer that states one and follows the other attends to nothing but padding, and trains to something
all the same.

## How it is tested
Steps are hidden in both ways; under the one that the layer follows, replacing what is hidden moves nothing.
That way must be the one stated: by a name (`key_padding_mask`, `src_key_padding_mask`: True hides;
`valid_mask`, `keep_mask`: True keeps; lengths: the first steps are kept), or by a docstring such as "mask:
True where padded". Where nothing is stated, nothing is asked.

## How to fix it
`scores.masked_fill(~mask, float("-inf"))` keeps where it is True, `scores.masked_fill(mask, float("-inf"))`
hides there.

## How to reproduce it
    module.eval()
    hidden = torch.zeros(args[0].shape[:2], dtype=torch.bool)
    hidden[:, -2:] = True  # torch's key_padding_mask: True is hidden
    changed = args[0].clone()
    changed[:, -2:] += 1.0
    one, other = module(args[0], hidden)[:, :-2], module(changed, hidden)[:, :-2]
    assert torch.allclose(one, other, rtol=1e-3, atol=1e-5), "what the mask hides has an effect"
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.observations import maskings
from layersmith.probe import conventions, masks, reading
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case


@rule(
    severity=Severity.ERROR,
    since="0.1",
    promise=Promise.OBEYS_MASKS,
    after=("forward-raises", "nondeterministic-eval", "batch-leak", "input-modified"),
)
def mask_inverted(case: Case) -> Iterator[Finding]:
    """Compare the convention that is stated with the one that is followed."""
    cls: type = type(case.module)
    stated = {name: conventions.stated(cls, name) for name in masks.arguments(case.module)}
    if not any(stated.values()):
        raise NotApplicable("no mask whose convention is stated")
    for masking in case.once(maskings):
        means = stated[masking.argument]
        follows = {"hides" if one.hides_true else "keeps" for one in masking.followed if not one.is_added}
        if means is not None and follows and means.convention not in follows:
            yield _finding(case, masking.argument, means)


def _finding(case: Case, argument: str, means: conventions.Stated) -> Finding:
    other = "keeps" if means.convention == "hides" else "hides"
    file, line = reading.line_with(
        case.module, rf"^(?!\s*def\b)(?=.*\b{argument}\b).*(masked_fill|where|mask|~)"
    )
    return Finding(
        f"{argument} is inverted: {means.why}, so True {means.convention}, but here True {other}",
        argument,
        file,
        line,
        fix=f"use ~{argument}",
    )


def _sequence() -> Tensor:
    return torch.randn(3, 7, 6)


def _masked() -> tuple[Tensor, Tensor]:
    return torch.randn(3, 7, 6), torch.arange(7) < torch.tensor([[7], [4], [2]])


@mask_inverted.bad("key_padding_mask is inverted", inputs=_sequence)
class KeepsThePadding(nn.Module):
    def forward(self, x: Tensor, key_padding_mask: Tensor | None = None) -> Tensor:
        scores = x @ x.mT / 6**0.5
        if key_padding_mask is not None:
            scores = scores.masked_fill(~key_padding_mask[:, None, :], -1e4)
        return scores.softmax(-1) @ x


@mask_inverted.bad("mask is inverted", inputs=_masked)
class MeanOfThePadding(nn.Module):
    """Mean over the valid steps.

    Args:
        x: [batch, time, features].
        mask: [batch, time], True for valid steps.
    """

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        kept = (~mask).unsqueeze(-1).to(x.dtype)
        return (x * kept).sum(1) / kept.sum(1).clamp(min=1)


@mask_inverted.bad("node_mask is inverted", inputs=_masked)
class HidesTheNodes(nn.Module):
    """node_mask: True for real nodes."""

    def forward(self, x: Tensor, node_mask: Tensor) -> Tensor:
        scores = x @ x.mT / 6**0.5 - 1e4 * node_mask.to(x.dtype).unsqueeze(1)
        return scores.softmax(-1) @ x


@mask_inverted.bad("mask is inverted", inputs=_masked)
class ClearsWhatItAttendsTo(nn.Module):
    """mask: [batch, time], True for valid steps; the others come out as zeros."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        scores = (x @ x.mT).masked_fill(mask[:, None, :], -1e4)
        return scores.softmax(-1) @ x * mask.unsqueeze(-1)


@mask_inverted.bad("valid is inverted: its name says so", inputs=_masked)
class HandsTheValidOnesToTorch(nn.Module):
    """Whose key_padding_mask is True where there is nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        y, _ = self.attention(x, x, x, key_padding_mask=valid, need_weights=False)
        return (x + y).masked_fill(~valid.unsqueeze(-1), 0.0)


@mask_inverted.bad(
    "word_mask is inverted", inputs=lambda: (torch.randn(3, 7, 6), torch.randn(3, 7, 6), _masked()[1])
)
class AttendsToNoWords(nn.Module):
    """word_mask (B, L): True for real words and False for padding; regions and words happen to be as many."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, regions: Tensor, words: Tensor, word_mask: Tensor) -> Tensor:
        return regions + self.attention(regions, words, words, key_padding_mask=word_mask)[0]


@mask_inverted.good(inputs=_sequence)
class HidesThePadding(nn.Module):
    """mask: True at positions that must not be attended to."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        scores = x @ x.mT / 6**0.5
        if mask is not None:
            scores = scores.masked_fill(mask[:, None, :], -1e4)
        return scores.softmax(-1) @ x


@mask_inverted.good(inputs=_masked)
class MeanOfTheTokens(nn.Module):
    """mask: [batch, time] with 1 for tokens and 0 for padding: what pads is said of 0, not of 1."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        kept = mask.unsqueeze(-1).to(x.dtype)
        return (x * kept).sum(1) / kept.sum(1).clamp(min=1)
