"""A call in eval mode must not change what the module saves.

## Why it matters
Running statistics that move during validation make a model depend on what it was validated on: two evaluations give two
answers, and a checkpoint saved after validation is not the one that was trained.

## How it is tested
Forward is called twice in eval mode; parameters and persistent buffers must be the same before and after the second
call. The first may initialise from data, as ActNorm does. A counter that moves is a warning.

## How to fix it
Update only `if self.training:`; pass `training=self.training` to `F.batch_norm`; `persistent=False` for a cache.

## How to reproduce it
    module.eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    run()
    changed = [name for name, tensor in module.state_dict().items() if not torch.equal(tensor, before[name])]
    assert not changed, f"an eval call changes {changed}"
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import closeness, reading
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

ASSIGNS = r"\s*(?:[-+*/]?=[^=]|\[.*\]\s*[-+*/]?=|(?:\.data)?\.\w+_\()"


@rule(
    severity=Severity.ERROR,
    since="0.1",
    promise=Promise.STEADY_EVAL,
    after=("forward-raises", "mode-not-propagated"),
)
def state_changes_in_eval(case: Case) -> Iterator[Finding]:
    """Look at the saved state before and after a second call."""
    case.run()
    before = {name: tensor.clone() for name, tensor in _state(case.module).items()}
    case.run(seed=case.seed + 1)
    after = _state(case.module)
    gaps = [
        closeness.gap(old, after[name], where=name)
        for name, old in before.items()
        if name in after and not nn.parameter.is_lazy(after[name])
    ]
    changed = [gap for gap in gaps if gap.max_abs > _rounding(before[gap.where])]
    if changed:
        yield _finding(case.module, changed, {gap.where: before[gap.where] for gap in changed})


def _rounding(old: Tensor) -> float:
    """By how much a tensor changes that is made what it is already, such as rows that are normalised again."""
    if not old.is_floating_point() or not old.numel():
        return 0.0
    return 4 * torch.finfo(old.dtype).eps * float(old.abs().max())


def _state(module: nn.Module) -> dict[str, Tensor]:
    found = module.state_dict()
    return {name: value.detach() for name, value in found.items() if isinstance(value, Tensor)}


def _finding(module: nn.Module, changed: list[closeness.Gap], old: dict[str, Tensor]) -> Finding:
    names = [gap.where for gap in changed]
    attribute = names[0].rpartition(".")[2]
    place = reading.line_with(module, rf"self\.{attribute}{ASSIGNS}")
    if place[1] == reading.line_with(module, "$^")[1]:  # not found: the class's own line
        place = reading.line_with(module, rf"self\.{attribute}\b")
    worst = max(gap.max_abs for gap in changed)
    is_count = all(tensor.numel() == 1 and not tensor.is_floating_point() for tensor in old.values())
    return Finding(
        f"a call in eval mode changes {', '.join(names[:3])}, by up to {worst:.2g}",
        names[0],
        *place,
        fix="update it only `if self.training:`",
        numbers={"max_abs": worst, "limit": 0.0},
        severity=Severity.WARNING if is_count else None,
    )


@state_changes_in_eval.bad("changes mean")
class MovesItsMean(nn.Module):
    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(6))

    def forward(self, x: Tensor) -> Tensor:
        self.mean.lerp_(x.detach().mean(0), 0.1)
        return x - self.mean


@state_changes_in_eval.bad("changes running_mean, running_var")
class NormalisesAlwaysAsInTraining(nn.Module):
    running_mean: Tensor
    running_var: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(6))
        self.register_buffer("running_var", torch.ones(6))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.batch_norm(x, self.running_mean, self.running_var, training=True)


@state_changes_in_eval.good
class MovesItsMeanInTraining(nn.Module):
    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(6))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - self.mean
        if self.training:
            self.mean.lerp_(x.detach().mean(0), 0.1)
        return centred


@state_changes_in_eval.good
class CountsInTraining(nn.Module):
    steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.steps += 1
        return x.relu()
