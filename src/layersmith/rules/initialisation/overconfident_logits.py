"""A classifier must not start out certain.

## Why it matters
Before it has seen a label, a classifier that gives 99 % to some class is wrong for most inputs, at a loss many times that
of guessing, log(classes). Its first epochs go into taking that back, and its softmax lets hardly any gradient through.
A frequent case is a head that shares the weights of an `nn.Embedding`, whose default is N(0, 1).

## How it is tested
Where names say that the outputs are classes (`num_classes`, `vocab_size`, a class named Classifier), the weights of
an embedding make them, or forward ends in a softmax, its probabilities on several inputs, with batch norms in train
mode too. Reported: at least 95 % for one class in the mean, and an expected loss on random labels of more than four
times log(classes). Cosines times up to 1000 (ArcFace) are meant; a sparsemax, of which nothing says that it
classifies, chooses.

## How to fix it
Draw the head with std 0.02 or 1 / sqrt(fan_in), its bias zero; divide scores by sqrt(d).

## How to reproduce it
    scores = run().detach().float().flatten(0, -2)
    scores = scores.log() if torch.allclose(scores.sum(-1), torch.ones(len(scores)), atol=1e-3) else scores
    labels = torch.randint(scores.shape[-1], (len(scores),))
    loss = nn.functional.cross_entropy(scores.clamp(-1e4), labels)
    guess = torch.tensor(float(scores.shape[-1])).log()
    assert loss < 4 * guess, f"the loss starts at {loss:.3g}, guessing costs {guess:.3g}"
"""

from __future__ import annotations

import contextlib
import inspect
import math
import re
import statistics
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import leaves, reading, tree
from layersmith.probe.closeness import COSTLY, NEARLY_ONE_HOT, NEARLY_ZERO, OVERCONFIDENT
from layersmith.probe.variations import outputs
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

SIZES = re.compile(
    r"^(?:num_?|n_?)?(?:class(?:es)?|labels?|tokens?|vocab\w*|categories|out_classes)(?:_size)?$"
)
KINDS = re.compile(r"[Cc]lassif|[Ll]anguage_?model|(?:^|_)lm$|LM$|CausalLM|GPT")
COSINES = r"normalize\(|cosine"
LARGEST_SCALE = 1000.0  # of cosines: faces are told apart with 64, images and texts with 100


@rule(
    severity=Severity.WARNING,
    since="0.1",
    promise=Promise.READY_TO_LEARN,
    after=("forward-raises", "nondeterministic-eval", "exploding-signal", "saturated-at-init"),
)
def overconfident_logits(case: Case) -> Iterator[Finding]:
    """Ask how certain it is on several inputs."""
    first = _scores(case.run())
    if not first or not _is_classifier(case, first[0]):
        raise NotApplicable("nothing says that its outputs are classes")
    if reading.says(case.module, COSINES) and first[0].abs().max() <= LARGEST_SCALE:
        raise NotApplicable("it compares directions: its logits are scaled on purpose")
    limit = COSTLY * math.log(first[0].shape[-1])
    if min(_costs(scores)[0] for scores in (first[0], *_in_training(case))) <= limit:
        return
    found = [tensor for output in outputs(case.module, case.inputs) for tensor in _scores(output)]
    losses, certainties = zip(*map(_costs, found), strict=True)
    guess = math.log(found[0].shape[-1])
    if statistics.mean(certainties) >= OVERCONFIDENT and min(losses) > COSTLY * guess:
        yield _finding(case.module, found[0], losses[0], certainties[0])


def _scores(output: object) -> list[Tensor]:
    """The first output, if it may hold logits or probabilities along its last axis."""
    first = [tensor for tensor in tree.tensors(output) if tensor.is_floating_point()][:1]
    return [tensor for tensor in first if tensor.ndim in (2, 3) and tensor.shape[-1] > 2]  # noqa: PLR2004 - classes


def _in_training(case: Case) -> list[Tensor]:
    """The scores that training starts from, where norms that have seen no data yet let signals grow in eval mode."""
    has_norm = any(getattr(part, "track_running_stats", False) for part in nn.Module.modules(case.module))
    return _scores(case.fresh(training=True).run()) if has_norm else []


def _is_classifier(case: Case, scores: Tensor) -> bool:
    built = case.subject.construction
    said = {**(built.arguments if built is not None else {}), **vars(case.module)}
    with contextlib.suppress(TypeError, ValueError):  # a constructor without a signature
        parameters = inspect.signature(type(case.module)).parameters
        said = {**{name: one.default for name, one in parameters.items()}, **said}
    is_named = any(SIZES.match(name) and value == scores.shape[-1] for name, value in said.items())
    is_said = is_named or _is_tied(case.module, scores) or bool(KINDS.search(type(case.module).__name__))
    are_of_places = case.inputs.has_places(scores.shape[-1])  # the weights of an attention
    return is_said or (_are_probabilities(scores) and not _is_sparse(scores) and not are_of_places)


def _is_tied(module: nn.Module, scores: Tensor) -> bool:
    """Whether they come of the weights of an embedding: one for each token that it knows."""
    tables = {id(part.weight) for part in nn.Module.modules(module) if isinstance(part, nn.Embedding)}
    near = (module.get_parameter(name) for name in leaves.nearest(scores, module))
    return any(id(one) in tables and len(one) == scores.shape[-1] for one in near)


def _are_probabilities(scores: Tensor) -> bool:
    return bool((scores >= 0).all()) and bool(((scores.sum(-1) - 1).abs() < NEARLY_ONE_HOT).all())


def _is_sparse(scores: Tensor) -> bool:
    """Whether some are zero, and none is nearly: what was chosen, as by a sparsemax, not what underflowed."""
    return bool((scores == 0).any()) and bool(scores[scores > 0].min() > NEARLY_ZERO)


def _costs(scores: Tensor) -> tuple[float, float]:
    """The expected loss on random labels, and the mean of the largest probability."""
    logits = scores.detach().double()
    if _are_probabilities(logits):
        logits = logits.clamp_min(1e-300).log()
    log_probabilities = logits.log_softmax(-1)
    return -float(log_probabilities.mean()), float(log_probabilities.amax(-1).exp().mean())


def _finding(module: nn.Module, scores: Tensor, loss: float, certainty: float) -> Finding:
    blamed = next(iter(leaves.nearest(scores, module)), "")
    file, line = reading.drawn_line(module, blamed)
    guess = math.log(scores.shape[-1])
    return Finding(
        f"before training it gives {certainty:.0%} to one of {scores.shape[-1]} classes: its loss starts at {loss:.3g}, "
        f"where guessing costs {guess:.3g}",
        where=blamed,
        file=file,
        line=line,
        fix=f"start {blamed or 'the last layer'} smaller: std 0.02 or 1 / sqrt(fan_in), bias zero",
        numbers={"loss": loss, "limit": COSTLY * guess, "certainty": certainty},
    )


@overconfident_logits.bad("before training it gives")
class CertainFromTheStart(nn.Module):
    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.head = nn.Linear(6, num_classes)
        nn.init.normal_(self.head.bias, std=100.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x)


@overconfident_logits.bad("before training it gives")
class HotClassifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 16)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).relu()) * 1000.0


@overconfident_logits.bad("before training it gives", inputs=lambda: torch.randint(200, (4, 6)))
class SharesItsTable(nn.Module):
    """N(0, 1) is right for what is looked up, and multiplies by 16 as a head."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(200, 256)
        self.mix = nn.Linear(256, 256)
        self.norm = nn.LayerNorm(256)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens)
        return nn.functional.linear(self.norm(x + self.mix(x).relu()), self.tokens.weight)


@overconfident_logits.bad("before training it gives")
class ScaledByItsExponential(nn.Module):
    """The scale of its cosines is kept as a logarithm, and set as if it were not."""

    def __init__(self, num_classes: int = 10, scale: float = 16.0) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(torch.randn(num_classes, 6))
        self.log_scale = nn.Parameter(torch.tensor(scale))

    def forward(self, x: Tensor) -> Tensor:
        x, w = nn.functional.normalize(x, dim=-1), nn.functional.normalize(self.prototypes, dim=-1)
        return self.log_scale.exp() * x @ w.mT


@overconfident_logits.good(inputs=lambda: torch.randint(200, (4, 6)))
class SharesItsSmallTable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(200, 256)
        nn.init.normal_(self.tokens.weight, std=0.02)
        self.mix = nn.Linear(256, 256)
        self.norm = nn.LayerNorm(256)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens)
        return nn.functional.linear(self.norm(x + self.mix(x).relu()), self.tokens.weight)


@overconfident_logits.good
class ChoosesAFewFeatures(nn.Module):
    """A sparsemax: its zeros are no underflow, and nothing says that what it chooses are classes."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        scores = 8 * self.gate(x)
        ordered = scores.sort(-1, descending=True).values
        over = ordered.cumsum(-1) - 1
        count = (ordered * torch.arange(1, 7, device=x.device) > over).sum(-1, keepdim=True)
        return (scores - over.gather(-1, count - 1) / count).clamp_min(0)


@overconfident_logits.good
class Regressor(nn.Module):
    """Large numbers that are no classes."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x) * 1000.0


@overconfident_logits.good
class DeepAndNormed(nn.Module):
    """In eval mode, before its norms have seen data, each block doubles the variance; in train mode it does not."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        layers = (
            nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 6)) for _ in range(24)
        )
        self.blocks = nn.ModuleList(layers)
        self.norms = nn.ModuleList(nn.BatchNorm1d(6) for _ in self.blocks)
        self.head = nn.Linear(6, num_classes)
        for part in self.modules():
            if isinstance(part, nn.Linear):
                nn.init.kaiming_normal_(part.weight)

    def forward(self, x: Tensor) -> Tensor:
        for block, norm in zip(self.blocks, self.norms, strict=True):
            x = torch.relu(x + norm(block(x)))
        return self.head(x)


@overconfident_logits.good
class CautiousClassifier(nn.Module):
    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.head = nn.Linear(6, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x)
