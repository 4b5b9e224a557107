"""A row of which everything is masked should give finite numbers.

## Why it matters
The softmax of a row of -inf is NaN, and one NaN in a loss ends a training. Rows without any valid step come
with empty texts, with the last batch filled up, and with left padding under a causal mask. torch's own
MultiheadAttention gives NaN there as well.

## How it is tested
Where forward takes a mask and obeys it: all steps of one row are hidden. Inputs are finite, and the output
should be. Where the documentation says that a row may be empty, that is a warning.

## How to fix it
Fill with a large negative number (`torch.finfo(x.dtype).min`) instead of `-inf`, or set such rows to zero
afterwards.

## How to reproduce it
    for value in (True, False):
        mask = torch.full(args[0].shape[:2], value)
        assert module(args[0], mask).isfinite().all(), f"a mask of only {value} gives NaN"
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.observations import maskings
from layersmith.probe import masks, reading, tree
from layersmith.probe.masking import Encoding, Masking, with_argument
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

MAY_BE_EMPTY = re.compile(
    r"\b(?:may|can|might|could)\b(?![^.]*\b(?:not|never)\b)[^.]*\b(?:empty|(?:fully|all|entirely|completely)[- ]masked)\b"
    r"|\b(?:sees?|ha(?:s|ve)|with|without) (?:no|none|nobody|any)\b[^.]*\b(?:gets?|gives?|zeros?)\b"
    r"|\bisolated (?:nodes?|points?|vertices)\b"
)
OF_ROWS = (
    "bt",
    "b1t",
    "b11t",
    "bt1",
)  # masks by rows and steps; nobody hides all pairs of steps without a word


@rule(
    severity=Severity.NOTE,
    since="0.1",
    promise=Promise.OBEYS_MASKS,
    after=("forward-raises", "nondeterministic-eval", "mask-ignored"),
)
def fully_masked_row(case: Case) -> Iterator[Finding]:
    """Hide all of one row."""
    if not masks.arguments(case.module):
        raise NotApplicable("forward takes no mask")
    if any(isinstance(part, nn.MultiheadAttention) for part in nn.Module.modules(case.module)):
        raise NotApplicable("torch's own attention is known to do so")
    asked = False
    for masking in case.once(maskings):
        is_meant = masking.shape in OF_ROWS or _may_be_empty(type(case.module))
        for encoding in masking.working[:1] if is_meant else ():
            asked = True
            if _is_nan(case, masking, encoding):
                yield _finding(case, masking)
    if not asked:
        raise NotApplicable("no mask that it obeys was found")


def _is_nan(case: Case, masking: Masking, encoding: Encoding) -> bool:
    """Whether hiding all of one row gives NaN where it was finite."""
    asked = masking.asked(case.inputs)
    call = masking.masked(asked, encoding, ())
    usual = case.run(call)
    mask = masks.given(case.module, call, masking.argument).clone()
    every = masking.masked(asked, encoding, tuple(range(masking.layout.steps)))
    mask[0] = masks.given(case.module, every, masking.argument)[0]
    try:
        output = case.run(with_argument(masking.parameters, call, masking.argument, mask))
    except Exception:  # noqa: BLE001 - a refusal is an answer as well
        return False
    return not _has_nan(usual) and _has_nan(output)


def _has_nan(output: object) -> bool:
    return any(bool(t.isnan().any()) for t in tree.tensors(output) if tree.is_differentiable(t))


def _finding(case: Case, masking: Masking) -> Finding:
    file, line = reading.line_with(case.module, r"^(?!\s*def\b).*(-?inf\b|masked_fill|softmax|/)")
    return Finding(
        f"NaN where {masking.argument} hides every step of a row",
        masking.argument,
        file,
        line,
        fix="fill with torch.finfo(x.dtype).min instead of -inf, or zero such rows; clamp a divisor to at least 1",
        severity=Severity.WARNING if _may_be_empty(type(case.module)) else None,
    )


def _may_be_empty(cls: type[nn.Module]) -> bool:
    """Whether the class, or its forward, says that there may be nothing to look at in a row."""
    said = f"{vars(cls).get('__doc__') or ''}\n{inspect.getdoc(cls.forward) or ''}"
    return MAY_BE_EMPTY.search(" ".join(said.split())) is not None


def _sequence() -> Tensor:
    return torch.randn(3, 7, 6)


@fully_masked_row.bad("NaN where mask hides every step", inputs=_sequence)
class InfinityEverywhere(nn.Module):
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        scores = x @ x.mT / 6**0.5
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None, :], float("-inf"))
        return scores.softmax(-1) @ x


@fully_masked_row.bad("NaN where padding_mask hides every step", inputs=_sequence)
class DividesByNone(nn.Module):
    def forward(self, x: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        valid = torch.ones_like(x[..., :1]) if padding_mask is None else (~padding_mask).unsqueeze(-1)
        return (x * valid).sum(1) / valid.sum(1)


@fully_masked_row.bad(
    "NaN where mask hides every step", inputs=lambda: (torch.randn(3, 6), torch.randn(3, 7, 6))
)
class ReadsAnEmptyMemory(nn.Module):
    """Reads a memory; that of an example may be empty."""

    def forward(self, query: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        scores = torch.einsum("bd,bmd->bm", query, memory)
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        return query + torch.einsum("bm,bmd->bd", scores.softmax(-1), memory)


@fully_masked_row.bad(
    "NaN where mask hides every step",
    inputs=lambda: (torch.randn(3, 7, 6), torch.eye(7, dtype=torch.bool).expand(3, -1, -1)),
)
class LooksAtItsNeighbours(nn.Module):
    """Mean of the visible agents, weighted; agents that see nobody get zeros."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        scores = (x @ x.mT).masked_fill(~mask, float("-inf"))
        return scores.softmax(-1) @ x


@fully_masked_row.good(inputs=_sequence)
class LargeNegativeNumber(nn.Module):
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        scores = x @ x.mT / 6**0.5
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None, :], torch.finfo(x.dtype).min)
        return scores.softmax(-1) @ x
