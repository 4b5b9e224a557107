"""What stochastic depth keeps must be scaled by the chance to be kept.

## Why it matters
A residual branch that is dropped for some samples is smaller on average by the chance to be kept. Where what is kept is
not divided by that chance, every block gives its successor more in eval mode than it ever did in training, and deep
models lose accuracy that nobody looks for there.

## How it is tested
Of modules whose name, or the name of a rate they keep, says stochastic depth (`DropPath`, `drop_path`,
`stochastic_depth`, `drop_connect`, `survival_prob`), with a rate that is not zero: such a module alone is put into train
mode and called several times on what it was given. Reported is one that gives some samples as in eval mode, and of the
others nothing, or what went in. Where eval mode scales instead, none is as in eval mode; one that has a switch for the
scaling that is off passes.

## How to fix it
`x * mask / keep`, or `mask.bernoulli_(keep).div_(keep)`.

## How to reproduce it
    part = module.get_submodule(where)
    module.eval()
    whole, part.training = run(), True
    same = [torch.allclose(row, kept) for _ in range(16) for row, kept in zip(run(), whole)]
    assert all(same) or not any(same), "what is kept is as in eval mode, though other samples are dropped"
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import dropped, source
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

NAMES = re.compile(
    r"drop_?path|stochastic_?depth|drop_?connect|path_?drop|survival_?(?:p|prob|rate)?$", re.IGNORECASE
)
SWITCH = re.compile(r"scale")
SHORT = {"p", "prob", "drop_prob"}
HALF = 0.5


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.OBEYS_MODES)
def unscaled_drop_path(case: Case) -> Iterator[Finding]:
    """Call each module that drops samples alone in train mode; one finding for the first of a class."""
    zero = _at_zero(case)
    if not zero and not any(map(_rates, nn.Module.modules(case.module))):
        raise NotApplicable("nothing in it drops the branches of samples, by its names")
    asked = _dropping(case, zero)
    parts = [(path, part) for path, part in asked.module.named_modules() if _rates(part)]
    told: set[type] = set()
    for path, part in parts:
        if type(part) not in told and dropped.keeps_as_in_eval(
            asked.module, part, asked.inputs, seed=asked.seed
        ):
            told.add(type(part))
            yield _finding(path, part)


def _at_zero(case: Case) -> list[str]:
    """The rates of its constructor that are zero, as they often are by default."""
    construction = case.subject.construction
    if construction is None:
        return []
    is_named = NAMES.search(construction.cls.__name__) is not None
    defaults = {name: one.default for name, one in inspect.signature(construction.cls).parameters.items()}
    return [
        name
        for name, value in {**defaults, **construction.arguments}.items()
        if type(value) in (int, float) and not value and (NAMES.search(name) or (is_named and name in SHORT))
    ]


def _dropping(case: Case, zero: list[str]) -> Case:
    """The module with a rate of a half where one is zero."""
    try:
        return (
            case.subject.otherwise(**dict.fromkeys(zero, HALF)).case(seed=case.seed) if zero else case.fresh()
        )
    except Exception:  # noqa: BLE001 - it may be of another kind than a number
        return case.fresh()


def _rates(part: nn.Module) -> list[float]:
    """The rates that a module of this kind keeps; [] of any other."""
    is_named = NAMES.search(type(part).__name__) is not None and not [*part.children()]
    if any(SWITCH.search(name) and value is False for name, value in vars(part).items()):
        return []
    return [
        value
        for name, value in vars(part).items()
        if isinstance(value, float) and 0 < value < 1 and (is_named or NAMES.search(name))
    ]


def _finding(path: str, part: nn.Module) -> Finding:
    cls: type = type(part)
    node = source.function_node(getattr(cls, "forward", None))
    file, line = source.class_line(cls)
    return Finding(
        f"{path or cls.__name__} drops samples and keeps the others as they are in eval mode: on average eval mode gives "
        "more than training did",
        path,
        file,
        node.lineno if node is not None else line,
        fix="divide what is kept by the chance to be kept",
    )


class _Depth(nn.Module):
    """Stochastic depth over (samples, ...)."""

    def __init__(self, drop_prob: float = 0.3) -> None:
        super().__init__()
        self.drop_prob = drop_prob

    def mask(self, x: Tensor) -> Tensor:
        return x.new_empty(len(x), *[1] * (x.ndim - 1)).bernoulli_(1 - self.drop_prob)


@unscaled_drop_path.bad("drops samples and keeps the others as they are")
class DropPath(_Depth):
    def forward(self, x: Tensor) -> Tensor:
        return x * self.mask(x) if self.training else x


@unscaled_drop_path.bad("drops samples and keeps the others as they are")
class DropPathOfNothing(DropPath):
    """By default; its rate is that of deeper blocks."""

    def __init__(self, drop_prob: float = 0.0) -> None:
        super().__init__(drop_prob)


@unscaled_drop_path.bad("drops samples and keeps the others as they are")
class SkipsItsBranch(nn.Module):
    def __init__(self, drop_path: float = 0.5) -> None:
        super().__init__()
        self.linear, self.drop_path = nn.Linear(6, 6), drop_path

    def forward(self, x: Tensor) -> Tensor:
        branch = self.linear(x)
        if self.training:
            branch = torch.where(torch.rand(len(x), 1, device=x.device) < self.drop_path, 0.0, branch)
        return x + branch


@unscaled_drop_path.good
class StochasticDepth(_Depth):
    def forward(self, x: Tensor) -> Tensor:
        return x * self.mask(x) / (1 - self.drop_prob) if self.training else x


@unscaled_drop_path.good
class ScalesInEval(nn.Module):
    """As in the paper: training keeps or drops, eval mode scales."""

    def __init__(self, survival: float = 0.7) -> None:
        super().__init__()
        self.linear, self.survival = nn.Linear(6, 6), survival

    def forward(self, x: Tensor) -> Tensor:
        branch = self.linear(x)
        if not self.training:
            return x + self.survival * branch
        return x + branch * (torch.rand(len(x), 1, device=x.device) < self.survival)


@unscaled_drop_path.good
class LayerDrop(nn.Module):
    """Leaves a whole layer out, and is not stochastic depth by its name."""

    def __init__(self, layerdrop: float = 0.5) -> None:
        super().__init__()
        self.linear, self.layerdrop = nn.Linear(6, 6), layerdrop

    def forward(self, x: Tensor) -> Tensor:
        if self.training and torch.rand(()) < self.layerdrop:
            return x
        return x + self.linear(x)
