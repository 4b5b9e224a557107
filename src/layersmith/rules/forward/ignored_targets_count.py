"""Targets that a loss ignores must change nothing, and not count in its mean.

## Why it matters
`loss.masked_fill(ignored, 0).mean()` divides by all places. The more padding a batch has, the smaller its loss and its
gradients: short sentences teach less, and the learning rate depends on how batches are put together.

## How it is tested
Where a loss has an `ignore_index` and is the mean or the sum of a loss at each place, the last places are ignored: it
must be the loss of the others alone, and the scores at what is ignored must not move it. A loss of whole rows, divided
by their number, is asked along the places of a row.

## How to fix it
Divide by what is left: `loss.sum() / keep.sum().clamp_min(1)`.

## How to reproduce it
    def loss(places, ignored=0):
        names = [name for name in vars(module) if name.startswith("ignore_")]
        scores, targets = args[0][:places], args[1][:places].clone() % 2
        targets[places - ignored :] = getattr(module, names[0])
        return module(scores, targets, *args[2:], **kwargs).item()
    one, other = loss(len(args[1])), loss(len(args[1]) - 1)
    assert abs(loss(len(args[1]), 1) - other) < 1e-4 * abs(one), "a target that is ignored counts"
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import closeness, options, reading, scored, tree
from layersmith.probe.scored import Scored
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

IGNORED = re.compile(r"^ignore_?(?:index|idx|label|id|target)$")
BY_ROWS = r"/=? *.*(?:size\(0\)|shape\[0\]|\blen\(|batch|bs\b)|(?:over|by)[\w ]* batch"


@rule(
    severity=Severity.WARNING,
    since="0.1",
    promise=Promise.OBEYS_MASKS,
    after=("forward-raises", "nondeterministic-eval", "silent-broadcast"),
)
def ignored_targets_count(case: Case) -> Iterator[Finding]:
    """Ignore the last places; compare with the loss without them."""
    value = _ignored(case)
    given = scored.given(case.inputs)
    if value is None or given is None:
        raise NotApplicable("it has no ignore_index, or no scores of classes beside targets")
    loss = partial(_loss, case, given)
    for one in scored.laid(given, value):
        with contextlib.suppress(Exception):  # it takes its places otherwise
            kept, rest = one.halves()
            if _is_of_places(loss(kept), loss(rest), loss(one), one.some / one.targets.shape[-1]):
                if one.targets.ndim > 1 or not reading.says(case.module, BY_ROWS):
                    yield from _findings(case, loss, one, value)
                return
    raise NotApplicable("it is no mean or sum of what each place costs")


def _findings(case: Case, loss: Callable[[Scored], Tensor], one: Scored, value: int) -> Iterator[Finding]:
    kept, rest = one.halves()
    ignored = replace(rest, targets=torch.full_like(rest.targets, value))
    seen = loss(kept.joined(ignored))
    moved = loss(kept.joined(replace(ignored, scores=-rest.scores)))
    counts = f"places that are ignored count: {rest.targets.shape[-1]} of them beside {one.some} others change the loss"
    for old, new, says in (
        (seen, moved, "scores of places that are ignored move the loss"),
        (loss(kept), seen, counts),
    ):
        if seen.isfinite() and (gap := closeness.gap(old, new)).is_open:
            yield Finding(
                f"{says} from {float(old):.6g} to {float(new):.6g}",
                "output",
                *reading.line_with(case.module, r"mean\(|/"),
                fix="divide by what is left: loss.sum() / keep.sum().clamp_min(1)",
                numbers={"max_abs": gap.max_abs, "limit": gap.limit},
            )
            return


def _ignored(case: Case) -> int | None:
    """The target that it ignores, as an attribute or an argument of its constructor says."""
    found = [value for name, value in vars(case.module).items() if IGNORED.match(name)]
    built = case.subject.construction
    if built is not None:
        names = [name for name in options.names(built.cls, built.arguments) if IGNORED.match(name)]
        found += [options.current(built.cls, built.arguments, name) for name in names]
    return next((value for value in found if type(value) is int), None)


def _loss(case: Case, given: Scored, one: Scored) -> Tensor:
    """The one number that it gives for these scores; no number for anything else."""
    call = one.within(case.inputs, given)
    found = [x for x in tree.tensors(case.run(call)) if x.is_floating_point()]
    return (
        found[0].detach().flatten()[0]
        if len(found) == 1 and found[0].numel() == 1
        else torch.tensor(torch.nan)
    )


def _is_of_places(alone: Tensor, rest: Tensor, both: Tensor, share: float) -> bool:
    """Whether the loss of all is the mean of two parts' losses, or their sum, and these differ."""
    if not closeness.gap(alone, rest).is_open or not bool(both.isfinite()):
        return False
    parts = (share * alone + (1 - share) * rest, alone + rest)
    return any(not closeness.gap(one, both).is_open for one in parts)


def _scores() -> tuple[Tensor, Tensor]:
    return torch.randn(6, 5), torch.randint(5, (6,))


def _sequences() -> tuple[Tensor, Tensor]:
    return torch.randn(3, 7, 5), torch.randint(5, (3, 7))


def _maps() -> tuple[Tensor, Tensor]:
    return torch.randn(2, 5, 4, 6), torch.randint(5, (2, 4, 6))


@ignored_targets_count.bad("places that are ignored count", inputs=_scores)
class MeanOfAllPlaces(nn.Module):
    """Label smoothing; targets of ignore_index do not contribute."""

    def __init__(self, ignore_index: int = -100) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        logp = logits.log_softmax(-1)
        keep = target != self.ignore_index
        picked = logp.gather(-1, target.masked_fill(~keep, 0).unsqueeze(-1)).squeeze(-1)
        return -(0.9 * picked + 0.1 * logp.mean(-1)).masked_fill(~keep, 0.0).mean()


@ignored_targets_count.bad("scores of places that are ignored move the loss", inputs=_sequences)
class SmoothsAllPlaces(nn.Module):
    def __init__(self, ignore_index: int = 0) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        sharp = nn.functional.cross_entropy(logits.mT, target, ignore_index=self.ignore_index)
        return 0.9 * sharp - 0.1 * logits.log_softmax(-1).mean()


@ignored_targets_count.bad("places that are ignored count", inputs=_maps)
class FocusesOnAllPixels(nn.Module):
    def __init__(self, gamma: float = 2.0, ignore_label: int = 255) -> None:
        super().__init__()
        self.gamma, self.ignore_label = gamma, ignore_label

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        cost = nn.functional.cross_entropy(logits, target, reduction="none", ignore_index=self.ignore_label)
        return ((1 - (-cost).exp()) ** self.gamma * cost).mean()


@ignored_targets_count.good(inputs=_scores)
class MeanOfWhatIsLeft(nn.Module):
    def __init__(self, ignore_index: int = -100) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        logp = logits.log_softmax(-1)
        keep = target != self.ignore_index
        picked = logp.gather(-1, target.masked_fill(~keep, 0).unsqueeze(-1)).squeeze(-1)
        cost = -(0.9 * picked + 0.1 * logp.mean(-1)).masked_fill(~keep, 0.0)
        return cost.sum() / keep.sum().clamp_min(1)


@ignored_targets_count.good(inputs=_sequences)
class SumOfARow(nn.Module):
    """The cost of a whole sentence, averaged over the batch."""

    def __init__(self, ignore_index: int = -100) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        cost = nn.functional.cross_entropy(
            logits.mT, target, reduction="sum", ignore_index=self.ignore_index, label_smoothing=0.1
        )
        return cost / logits.size(0)


@ignored_targets_count.good(inputs=_scores)
class SumOfRowsByTheBatch(nn.Module):
    def __init__(self, ignore_index: int = -100) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        cost = nn.functional.cross_entropy(logits, target, reduction="sum", ignore_index=self.ignore_index)
        return cost / logits.size(0)


@ignored_targets_count.good(inputs=_scores)
class ContrastsWithAll(nn.Module):
    """Rows without a label are no anchors, and still what others are told from."""

    def __init__(self, ignore_index: int = -1) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        near = nn.functional.normalize(features, dim=1)
        logp = (near @ near.mT).log_softmax(1)
        same = (labels[:, None] == labels) & (labels != self.ignore_index)[:, None]
        return -(logp * same).sum() / same.sum().clamp_min(1)
