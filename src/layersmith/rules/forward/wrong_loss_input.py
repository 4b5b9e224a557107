"""A loss must get scores where it takes scores, and logarithms where it takes these.

## Why it matters
`F.cross_entropy` takes the softmax itself. Of probabilities it takes a second one: no class can then be given more than
`e / (e + n - 1)`, the loss never nears zero, and gradients are small; it trains, badly. `F.kl_div` and `F.nll_loss` take
logarithms: of probabilities they give a number of the wrong sign that still has a gradient.

## How it is tested
What forward gives to `cross_entropy`, `nll_loss`, `kl_div` and `binary_cross_entropy_with_logits` (or their modules)
is looked at: probabilities that sum to one, the result of a sigmoid, or scores of both signs where logarithms are
taken; and `exp` of the negative mean of such a loss, where a focal loss wants that of each sample; and a `kl_div`
without a `reduction`, of which torch itself warns, or one whose target is the student and whose input the teacher.
What the caller gave is not. A target that forward takes and can do without is given. Where forward itself returns
probabilities, the file is read, and those of its project that import it: what an object of the class returns must not
go to a cross entropy there.

## How to fix it
Leave the softmax out and return scores; take `log_softmax` before `nll_loss` and `kl_div`.

## How to reproduce it
    from unittest import mock
    F, taken, powers = nn.functional, [], []
    watch = lambda loss, seen: lambda x, *rest, **more: seen.append(x.detach()) or loss(x, *rest, **more)
    names = ("cross_entropy", "nll_loss", "kl_div", "binary_cross_entropy_with_logits")
    losses = {name: watch(getattr(F, name), taken) for name in names}
    with mock.patch.multiple(F, **losses), mock.patch.object(torch, "exp", watch(torch.exp, powers)):
        run()
    assert not any((x >= 0).all() for x in taken) and not any(x.ndim == 0 and x < 0 for x in powers), "no such input"
    assert where != "output" or (run() < 0).any(), "it returns probabilities, and is trained by a cross entropy"
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.load import loops
from layersmith.load.targeted import with_target
from layersmith.probe import losses, reading, tree
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.SHAPES_MEANT, after=("forward-raises",))
def wrong_loss_input(case: Case) -> Iterator[Finding]:
    """Watch the losses that forward takes; read the file for those that are taken of what it returns."""
    is_asked, is_probable = reading.mentions(case.module, losses.CALLS), _returns_probabilities(case)
    if not (is_asked or is_probable):
        raise NotApplicable("its files name no such loss, and it returns no probabilities")
    calls = [case.inputs, with_target(case)] if is_asked else []
    found = [one for call in calls if call is not None for one in losses.misfits(case.module, call)]
    for one in dict.fromkeys(found):
        yield _finding(one, "")
    place = loops.trained_by_scores(type(case.module)) if is_probable else None
    if place is not None:
        yield _finding(losses.Misfit("cross_entropy", "probabilities", *place), "output")


def _returns_probabilities(case: Case) -> bool:
    first = next(iter(tree.tensors(case.run())), None)
    return (
        first is not None
        and first.ndim > 0
        and losses.are_probabilities(first.detach(), [min(1, first.ndim - 1)])
    )


def _finding(one: losses.Misfit, where: str) -> Finding:
    if one.given == losses.MEAN:
        message = "kl_div() takes the mean over classes as well as rows: a divergence is the sum over classes"
        return Finding(message, where, one.file, one.line, 'pass reduction="batchmean"')
    if one.given == losses.SWAPPED:
        message = "kl_div(input, target) is KL(target || input), and the student, who learns, is the target"
        return Finding(message, where, one.file, one.line, "give the student's logarithms first")
    message = f"{one.function}() takes {losses.TAKES[one.function]} and gets {one.given}"
    return Finding(message, where, one.file, one.line, losses.FIX[one.function])


def _scored() -> tuple[Tensor, Tensor]:
    return torch.randn(4, 6), torch.randint(3, (4,))


def _taught() -> tuple[Tensor, Tensor]:
    return torch.randn(4, 6), torch.randn(4, 6)


@wrong_loss_input.bad(
    "cross_entropy() takes scores (it has a softmax inside) and gets probabilities", inputs=_scored
)
class SoftmaxTwice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Linear(6, 3), nn.Softmax(dim=1))
        self.loss = nn.CrossEntropyLoss()

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return self.loss(self.head(x), labels)


@wrong_loss_input.bad(
    "exp() takes the loss of each sample, for the probability of its class, and gets the mean of all",
    inputs=_scored,
)
class FocusesOnTheMean(nn.Module):
    def __init__(self, gamma: float = 2.0) -> None:
        super().__init__()
        self.gamma = gamma

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        loss = nn.functional.cross_entropy(scores, labels)
        return (1 - torch.exp(-loss)) ** self.gamma * loss


@wrong_loss_input.good(inputs=_scored)
class FocusesOnEach(FocusesOnTheMean):
    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        loss = nn.functional.cross_entropy(scores, labels, reduction="none")
        return ((1 - torch.exp(-loss)) ** self.gamma * loss).mean()


@wrong_loss_input.bad("a divergence is the sum over classes", inputs=_taught)
class DistilsTheMean(nn.Module):
    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return nn.functional.kl_div(student.log_softmax(-1), teacher.softmax(-1)) * 4


@wrong_loss_input.bad("is KL(target || input), and the student, who learns, is the target", inputs=_taught)
class DistilsBackwards(nn.Module):
    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        known, learned = teacher.detach().log_softmax(-1), student.log_softmax(-1)
        return nn.functional.kl_div(known, learned, reduction="batchmean", log_target=True)


@wrong_loss_input.bad("kl_div() takes logarithms of probabilities and gets probabilities", inputs=_taught)
class DistilsProbabilities(nn.Module):
    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return nn.functional.kl_div(student.softmax(-1), teacher.softmax(-1), reduction="batchmean")


@wrong_loss_input.bad("nll_loss() takes logarithms of probabilities and gets scores", inputs=_scored)
class NoSoftmaxAtAll(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.nll_loss(self.head(x), labels)


@wrong_loss_input.bad("with_logits() takes scores (it has a sigmoid inside) and gets what a sigmoid gave")
class SigmoidTwice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        chance = torch.sigmoid(self.head(x))
        return nn.functional.binary_cross_entropy_with_logits(chance, torch.ones_like(chance))


@wrong_loss_input.good(inputs=_scored)
class SoftmaxInTheLoss(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(self.head(x), labels)


@wrong_loss_input.good(inputs=_taught)
class DistilsLogarithms(nn.Module):
    """Both as logarithms, which is said."""

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        known = (student.log_softmax(-1), teacher.log_softmax(-1))
        return nn.functional.kl_div(*known, reduction="batchmean", log_target=True)


@wrong_loss_input.good(inputs=_scored)
class MixesBeforeItsLogarithm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(6, 3) for _ in range(2))

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        both = torch.stack([head(x).softmax(-1) for head in self.heads]).mean(0)
        return nn.functional.nll_loss((both + 1e-8).log(), labels)


@wrong_loss_input.good(inputs=lambda: (torch.randn(4, 3).softmax(-1), torch.randint(3, (4,))))
class TakesWhatItIsGiven(nn.Module):
    """What goes in is for the caller to say."""

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(scores, labels, label_smoothing=0.1)


@wrong_loss_input.good
class GatesByASigmoid(nn.Module):
    """Scores that are multiplied with what a sigmoid gave are scores."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.gate = nn.Linear(6, 1), nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.head(x) * torch.sigmoid(self.gate(x))
        return nn.functional.binary_cross_entropy_with_logits(scores, torch.ones_like(scores))
