"""What a mask hides must have no effect on what it leaves visible.

## Why it matters
A mask that is accepted and dropped, or applied in one layer of two, lets padding into every result: the
model works on batches of equal lengths, and gives another answer for the same text in other company.

## How it is tested
Asked of arguments named as masks or lengths (`mask`, `attn_mask`, `key_padding_mask`, `padding_mask`,
`lengths`). Some steps are hidden, in every usual encoding (True hides, True keeps, 0 and 1, -inf added)
that forward takes. The mask must change something, and under one of the encodings, replacing what is hidden
must not move the outputs of visible steps; nor a loss, if the mask is of padding by its name: else the loss may ask for
what is hidden.

## How to fix it
Pass the mask on to every layer that mixes steps, along the keys: `scores.masked_fill(mask[:, None, :],
float("-inf"))` before the softmax; multiply convolution inputs by it before each convolution.

## How to reproduce it
    module.eval()
    mask = torch.rand(args[0].shape[:2]) < 0.5
    mask[:, 0], mask[:, -1] = True, False
    assert not torch.equal(module(args[0], mask), module(args[0], torch.ones_like(mask))), "the mask changes nothing"
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.observations import maskings
from layersmith.probe import arguments, executed, masks, reading, source, tree, usage
from layersmith.probe.masking import Masking
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

APPLIES = r"masked_fill|where|softmax|mask|\*"
OF_QUERIES = re.compile(r"^q(uer(y|ies))?_")
OF_KEYS = re.compile(r"att(?:n|ention)_mask$")
EDGES = re.compile(r"adj|edge|laplacian|a_hat$")
OF_PADDING = re.compile(r"pad|valid|len")


@rule(
    severity=Severity.WARNING,
    since="0.1",
    promise=Promise.OBEYS_MASKS,
    after=("forward-raises", "nondeterministic-eval", "batch-leak", "input-modified"),
)
def mask_ignored(case: Case) -> Iterator[Finding]:
    """Hide steps; then change what is hidden."""
    if not masks.arguments(case.module):
        raise NotApplicable("forward takes no mask")
    asked = 0
    for masking in case.once(maskings):
        asked += bool(masking.trials)
        if masking.trials and not any(trial.effect for trial in masking.trials):
            yield _without_effect(case, masking)
        elif (
            not masking.working
            and any(trial.leak.is_open for trial in masking.trials)
            and _is_asked(case, masking)
        ):
            yield _leaking(case, masking)
    if not asked:
        raise NotApplicable("its shape, or what the steps to hide would change, is not known")


def _is_asked(case: Case, masking: Masking) -> bool:
    """Whether what is hidden must not matter: but a loss may be that of guessing it, unless it is padding.

    A mask of queries takes away outputs, and has no say of the keys beside them; of a source's memory another mask may
    tell; of nodes it is their matrix that says whose neighbours they are.
    """
    its, names = masking.argument.replace("src", "memory", 1), masking.parameters  # as nn.Transformer has it
    is_source = its != masking.argument and {its, "tgt"} <= {*names}
    if is_source or OF_QUERIES.match(masking.argument) or any(map(EDGES.match, masking.parameters)):
        return False
    beside = [(n, one) for _, n, one in arguments.named(case.module, case.inputs) if n != masking.argument]
    if any(OF_KEYS.search(n) or (one.dtype is torch.bool and one.unique().numel() > 1) for n, one in beside):
        return False  # hidden by another: this one blanks outputs, or that one steps in between
    is_loss = all(tensor.numel() == 1 for tensor in tree.tensors(case.run()))
    return not is_loss or OF_PADDING.search(masking.argument) is not None


def _without_effect(case: Case, masking: Masking) -> Finding:
    cls: type = type(case.module)
    node = source.function_node(getattr(cls, "forward", None))
    file, line = source.class_line(cls)
    tried = ", ".join(dict.fromkeys(trial.encoding.name for trial in masking.trials))
    is_meant = usage.is_demanded(cls, masking.argument) or _is_read_elsewhere(case, masking)
    return Finding(
        f"{masking.argument} changes nothing: the output is the same whether or not it hides steps "
        f"{_steps(masking)} (tried: {tried})",
        masking.argument,
        file,
        node.lineno if node is not None else line,
        fix=f"use {masking.argument} in forward, or take it out of its arguments",
        severity=Severity.NOTE if is_meant else None,
    )


def _is_read_elsewhere(case: Case, masking: Masking) -> bool:
    """Whether a branch that this call does not take would read it, as of another task."""
    inputs = masking.masked(masking.asked(case.inputs), masking.trials[0].encoding, masking.hidden)
    mask = {name: one for _, name, one in arguments.named(case.module, inputs)}.get(masking.argument)
    return mask is not None and executed.is_read_elsewhere(case.fresh().module, inputs, mask)


def _leaking(case: Case, masking: Masking) -> Finding:
    leak = min((trial.leak for trial in masking.trials if trial.leak.is_open), key=lambda gap: gap.max_abs)
    file, line = reading.line_with(case.module, rf"^(?!\s*def\b)(?=.*\b{masking.argument}\b).*({APPLIES})")
    return Finding(
        f"what {masking.argument} hides still matters: outputs at visible steps moved by {leak.max_abs:.2g} when only "
        f"hidden steps {_steps(masking)} changed, limit {leak.limit:.2g}, in whichever encoding",
        masking.argument,
        file,
        line,
        fix="hide the keys, with -inf before the softmax, in every layer that mixes steps",
        numbers={"max_abs": leak.max_abs, "limit": leak.limit},
    )


def _steps(masking: Masking) -> str:
    first, last = masking.hidden[0], masking.hidden[-1]
    return f"{first} to {last}" if first != last else f"{first}"


def _sequence() -> Tensor:
    return torch.randn(3, 7, 6)


@mask_ignored.bad("mask changes nothing", inputs=_sequence)
class TakesAMaskAndDropsIt(nn.Module):
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return (x @ x.mT / 6**0.5).softmax(-1) @ x


@mask_ignored.bad("what key_padding_mask hides still matters", inputs=_sequence)
class MasksAfterTheSoftmax(nn.Module):
    def forward(self, x: Tensor, key_padding_mask: Tensor | None = None) -> Tensor:
        weights = (x @ x.mT / 6**0.5).softmax(-1)
        if key_padding_mask is not None:
            weights = weights.masked_fill(key_padding_mask[:, None, :], 0.0)
        return weights @ x


@mask_ignored.bad(
    "what context_mask hides still matters", inputs=lambda: (torch.randn(3, 7, 6), torch.randn(3, 5, 6))
)
class MasksTheContextAfterwards(nn.Module):
    def forward(self, x: Tensor, context: Tensor, context_mask: Tensor | None = None) -> Tensor:
        weights = (x @ context.mT / 6**0.5).softmax(-1)
        if context_mask is not None:
            weights = weights * context_mask[:, None, :]
        return weights @ context


@mask_ignored.bad("what padding_mask hides still matters", inputs=_sequence)
class LossOfUnmaskedSums(nn.Module):
    def forward(self, x: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        error = x.cumsum(1).flip(1).cumsum(1).square().mean(-1)
        if padding_mask is not None:
            error = error.masked_fill(padding_mask, 0.0)
        return error.mean()


@mask_ignored.good(inputs=lambda: (torch.randn(3, 7, 6), torch.rand(3, 7, 7), torch.ones(3, 7).bool()))
class AsksItsNeighbours(nn.Module):
    """A hidden node has no neighbours: that is for the matrix to say."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor, adj: Tensor, node_mask: Tensor) -> Tensor:
        x = x + adj @ self.linear(x).relu()
        weights = node_mask.unsqueeze(-1).to(x.dtype)
        return (x * weights).sum(1) / weights.sum(1).clamp(min=1)


@mask_ignored.good(inputs=lambda: (torch.randn(3, 7, 6), torch.randn(3, 7, 6)))
class TakesAwayItsQueries(nn.Module):
    """Hidden are the answers to some questions, not what is asked about."""

    def forward(self, key: Tensor, query: Tensor, query_mask: Tensor | None = None) -> Tensor:
        weights = (query @ key.mT / 6**0.5).softmax(-1)
        return (weights if query_mask is None else weights * query_mask) @ key


@mask_ignored.good(inputs=lambda: (torch.randn(3, 7, 6), torch.randn(3, 7, 6)))
class MasksTheQueries(nn.Module):
    """Its mask is of the queries, which are as many as there are steps to look at."""

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        y = (x @ context.mT / 6**0.5).softmax(-1) @ context
        return y if mask is None else y * mask.unsqueeze(-1)


@mask_ignored.good(inputs=lambda: (torch.randn(3, 7, 6), torch.randn(3, 7, 6)))
class MasksTheKeysOfTheSource(nn.Module):
    """Its first input is the target, as long as the source here, and never masked."""

    def forward(self, target: Tensor, source: Tensor, src_mask: Tensor | None = None) -> Tensor:
        target = target + (target @ target.mT / 6**0.5).softmax(-1) @ target
        scores = target @ source.mT / 6**0.5
        if src_mask is not None:
            scores = scores.masked_fill(src_mask == 0, -10000)
        return target + scores.softmax(-1) @ source


@mask_ignored.good(inputs=lambda: (torch.randn(3, 7, 6), torch.randn(3, 7, 6), torch.ones(3, 7).bool()))
class MasksTheWords(nn.Module):
    """A mask of its second input, by its name."""

    def forward(self, regions: Tensor, words: Tensor, word_mask: Tensor) -> Tensor:
        scores = (regions @ words.mT).masked_fill(~word_mask[:, None, :], -1e4)
        return regions + scores.softmax(-1) @ words


@mask_ignored.good(inputs=_sequence)
class MasksBeforeTheSoftmax(nn.Module):
    def forward(self, x: Tensor, key_padding_mask: Tensor | None = None) -> Tensor:
        scores = x @ x.mT / 6**0.5
        if key_padding_mask is not None:
            scores = scores.masked_fill(key_padding_mask[:, None, :], -1e4)
        return scores.softmax(-1) @ x


@mask_ignored.good(inputs=_sequence)
class ScoresEachStep(nn.Module):
    """Steps are not mixed: what is hidden cannot reach the others, masked or not."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        gate = x.sigmoid()
        return x * gate if mask is None else x * gate * mask.unsqueeze(-1)


@mask_ignored.good(inputs=_sequence)
class LossOverLengths(nn.Module):
    """One number for all rows: it depends on every step of the row that is full."""

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        if lengths is None:
            return x.square().mean()
        valid = (torch.arange(x.shape[1]) < lengths[:, None]).unsqueeze(-1)
        return (x.square() * valid).sum() / valid.sum()


@mask_ignored.good(inputs=lambda: (torch.randn(3, 7, 6), torch.rand(3, 7) < 0.5))  # noqa: PLR2004
class GuessesWhatIsHidden(nn.Module):
    """The loss is of what its layers do not see."""

    def __init__(self) -> None:
        super().__init__()
        self.mask_token = nn.Parameter(torch.randn(6))
        self.gru = nn.GRU(6, 6, batch_first=True)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        guessed = self.gru(torch.where(mask.unsqueeze(-1), self.mask_token, x))[0]
        return ((guessed - x).square().mean(-1) * mask).sum() / mask.sum().clamp_min(1)


@mask_ignored.good(inputs=_sequence)
class MayTakeAContext(nn.Module):
    """Without a context its mask has nothing to hide."""

    def forward(self, x: Tensor, context: Tensor | None = None, context_mask: Tensor | None = None) -> Tensor:
        y = (x @ x.mT / 6**0.5).softmax(-1) @ x
        if context is None:
            return y
        scores = y @ context.mT
        if context_mask is not None:
            scores = scores.masked_fill(~context_mask[:, None, :], -1e4)
        return y + scores.softmax(-1) @ context


@mask_ignored.good(inputs=lambda: (torch.randn(5, 7, 40), torch.tensor([7, 6, 5, 5, 3])))
class TellsHowLongTheRest(nn.Module):
    """A stack of strided convolutions: the last step sees some padding, and the caller is told how many to keep."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, channels, 3, stride=2)
        self.second = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        x = self.second(self.first(x[:, None]).relu()).relu()
        return x.transpose(1, 2).flatten(2), ((lengths - 1) // 2 - 1) // 2
