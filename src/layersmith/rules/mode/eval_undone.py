"""What the constructor puts in eval mode must stay there when the module is trained.

## Why it matters
`self.encoder.eval()` in the constructor freezes the statistics of a pretrained encoder, until the loop says
`model.train()`: that reaches every submodule. From then on the frozen encoder normalises by batches, its running
statistics drift away from its weights, and its dropout drops.

## How it is tested
A module is built. A submodule that its constructor left in eval mode, by an `.eval()` that stands in the class, and that
has batch norms with statistics of their own or dropouts, must be in eval mode after `train()` as well.

## How to fix it
Override train: `def train(self, mode=True): super().train(mode); self.encoder.eval(); return self`.

## How to reproduce it
    assert not where or not module.train().get_submodule(where).training, f"{where} goes back to train mode"
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import reading, source
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

EVAL = re.compile(r"\.eval\(\)|\.train\(False\)|\.train\(mode=False\)")


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.OBEYS_MODES, after=("mode-not-propagated",))
def eval_undone(case: Case) -> Iterator[Finding]:
    """Look at what a constructor leaves in eval mode, before and after `train()`."""
    if case.subject.construction is None:
        raise NotApplicable("how it was constructed is not known")
    module = case.subject.anew()
    kept = [path for path, part in module.named_modules() if path and not part.training]
    tops = [path for path in kept if path.rpartition(".")[0] not in kept]
    if not module.training or not tops:
        return
    module.train()
    for path in tops:
        holder, attribute = source.owner(module, path)
        cls: type = type(holder)
        part = module.get_submodule(path)
        if part.training and _differs(part) and EVAL.search(source.text_of(cls)):
            place = reading.line_matching(holder, rf"\b{attribute}\b.*\.(?:eval|train)\(")
            yield Finding(
                f"{path} is put in eval mode by the constructor, and goes back to train mode with train()",
                path,
                *place,
                fix=f"override train(): super().train(mode), then self.{attribute}.eval(), and return self",
            )


def _differs(part: nn.Module) -> bool:
    """Whether it holds a batch norm with statistics, or a dropout: what answers otherwise in train mode."""
    norms = (one for one in nn.Module.modules(part) if isinstance(one, nn.modules.batchnorm._BatchNorm))  # noqa: SLF001 - their common base
    drops = (one for one in nn.Module.modules(part) if isinstance(one, nn.modules.dropout._DropoutNd))  # noqa: SLF001 - as above
    return any(one.track_running_stats for one in norms) or any(one.p > 0 for one in drops)


def _encoder() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU())


@eval_undone.bad("encoder is put in eval mode by the constructor, and goes back to train mode")
class FreezesOnce(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = _encoder().requires_grad_(requires_grad=False)
        self.encoder.eval()
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = self.encoder(x)
        return self.head(x)


@eval_undone.bad("teacher is put in eval mode by the constructor, and goes back to train mode")
class TeacherThatDrops(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.teacher = nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.2)).eval()
        self.student = nn.Linear(6, 6)
        for parameter in self.teacher.parameters():
            parameter.requires_grad = False

    def forward(self, x: Tensor) -> Tensor:
        return (self.student(x) - self.teacher(x)).square().mean(-1)


@eval_undone.good
class StaysFrozen(nn.Module):
    """Its train() leaves the encoder as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = _encoder().requires_grad_(requires_grad=False)
        self.head = nn.Linear(8, 3)
        self.encoder.eval()

    def train(self, mode: bool = True) -> StaysFrozen:
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x))


@eval_undone.good
class HasNothingToKeep(nn.Module):
    """A frozen layer that answers alike in both modes."""

    def __init__(self) -> None:
        super().__init__()
        self.projection = nn.Linear(6, 6).requires_grad_(requires_grad=False).eval()
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.projection(x))
