"""A parameter must be reached from the output whatever a flag says, or not be made.

## Why it matters
`self.out_proj = nn.Linear(...)` that forward calls under `if self.include_fc` only is dead weight without the flag:
DistributedDataParallel refuses the module, and its numbers are saved and counted. Worse is a parameter that a flag
makes and forward detaches: `learnable=True` trains nothing.

## How it is tested
The class is built with one flag, or one choice that its source or annotation lists, changed; autograd's graph is read
in train and eval mode. A parameter that is there with this option only, changes the output, and has no path to it, is
reported; so is one that was reached before and is made all the same, unless another file of the project reads it. Not
asked of options by which another output is returned (`return_features`, `encoder_only`).

## How to fix it
Make it under the same condition under which it is used; remove the `detach()`.

## How to reproduce it
    import inspect
    usual = inspect.signature(type(module)).parameters[where].default if where else None
    changed = type(module)(**{where: not usual}) if where else module
    changed(*args, **kwargs).sum().backward()
    idle = [name for name, p in changed.named_parameters() if p.requires_grad and p.grad is None]
    assert not idle, f"no gradient reaches {idle}"
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from layersmith.finding import Finding, Severity
from layersmith.load import project
from layersmith.load.attempt import Deadline
from layersmith.load.otherwise import error_of
from layersmith.load.trials import Trials
from layersmith.load.values import written
from layersmith.probe import reach, source
from layersmith.probe.inputs import Inputs
from layersmith.probe.modes import in_mode
from layersmith.probe.options import Option
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

OTHERWISE = re.compile(
    r"return|feature|embed|headless|_only$|^only_|extract|freeze|pretrain"
)  # gives another output
SECONDS = 3.0  # of CPU for all options of one class


@rule(
    severity=Severity.WARNING,
    since="0.1",
    promise=Promise.EVERY_PARAMETER_LEARNS,
    after=("forward-raises", "unused-parameter"),
)
def unused_with_option(case: Case) -> Iterator[Finding]:
    """Change one flag or choice at a time; one finding an attribute that is left over."""
    construction = case.subject.construction
    if construction is None:
        raise NotApplicable("how it was constructed is not known")
    trials = Trials(case, construction, Deadline.after(SECONDS))
    usual = _unreached(case.module, case.inputs, case.seed)
    before = {name for name, _ in case.module.named_parameters()}
    told: set[str] = set()
    for option, module in trials.choices():
        if OTHERWISE.search(option.name):
            continue
        unreached = _unreached(module, trials.inputs, case.seed)
        does_nothing = unreached >= {name for name, one in module.named_parameters() if one.requires_grad}
        for name in sorted(unreached - usual):
            attribute, is_new = name.partition(".")[0], name not in before
            is_asked = is_new or (not does_nothing and _is_its_own(type(module), attribute))
            is_part = not is_new and not unreached >= {n for n in before if n.startswith(f"{attribute}.")}
            if attribute in told or not is_asked or is_part:  # a part of another class is left over
                continue
            if is_new == _changes(module, trials.inputs, name, case.seed):
                told.add(attribute)
                yield _finding(type(module), option, attribute, is_new=is_new)


def _unreached(module: nn.Module, inputs: Inputs, seed: int) -> set[str]:
    """The parameters that no mode reaches; none where it cannot be called."""
    wanted = {name for name, one in module.named_parameters() if one.requires_grad}
    for training in (True, False) if wanted else ():
        found = reach.reach(in_mode(module, training=training), inputs, seed=seed)
        if (
            found is None or not wanted <= found.parameters
        ):  # a checkpoint wants inputs that ask for a gradient
            learned = inputs.map(lambda x: x.detach().clone().requires_grad_(x.is_floating_point()))
            again = reach.reach(module, learned, seed=seed)
            wanted -= again.parameters if again is not None else set()
            if (
                not (found or again)
                and error_of(module, inputs, Deadline.after(SECONDS), seed=seed) is not None
            ):
                return set()
        wanted -= found.parameters if found is not None else set()
    return wanted


def _is_its_own(kind: type, attribute: str) -> bool:
    """Whether its source makes the attribute, and no other file reads it."""
    return bool(source.attribute_line(kind, attribute)[1]) and not project.is_read_from_outside(
        kind, attribute
    )


def _changes(module: nn.Module, inputs: Inputs, name: str, seed: int) -> bool:
    return not reach.changes_nothing(in_mode(module, training=False), inputs, {name}, seed=seed)


def _finding(kind: type, option: Option, attribute: str, *, is_new: bool) -> Finding:
    said = f"{kind.__name__}({option.name}={written(option.value)})"
    what = "changes the output, but no gradient reaches it" if is_new else "is made, and never used"
    return Finding(
        f"with {said} {attribute} {what}",
        option.name,
        *source.attribute_line(kind, attribute),
        fix="do not detach it" if is_new else "make it under the condition under which it is used",
    )


@unused_with_option.bad("with ProjectsOrNot(project=False) out is made, and never used")
class ProjectsOrNot(nn.Module):
    def __init__(self, width: int = 6, *, project: bool = True) -> None:
        super().__init__()
        self.project = project
        self.mix, self.out = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mix(x)
        return self.out(x) if self.project else x


@unused_with_option.good
class MayRecompute(nn.Module):
    def __init__(self, width: int = 6, *, use_checkpoint: bool = False) -> None:
        super().__init__()
        self.use_checkpoint, self.mix = use_checkpoint, nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        if self.use_checkpoint:
            recomputed: Tensor = checkpoint(self.mix, x, use_reentrant=True)
            return recomputed
        return self.mix(x)


@unused_with_option.bad("codes changes the output, but no gradient reaches it")
class LearnsNoCodes(nn.Module):
    codes: Tensor

    def __init__(self, width: int = 6, *, learnable: bool = False) -> None:
        super().__init__()
        self.learnable, self.mix = learnable, nn.Linear(width, width)
        codes = torch.linspace(-1, 1, width)
        if learnable:
            self.codes = nn.Parameter(codes)
        else:
            self.register_buffer("codes", codes)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(x) + (self.codes.detach() if self.learnable else self.codes)


@unused_with_option.good
class MakesWhatItUses(nn.Module):
    """A layer for an input that only some calls bring along, and one that an option leaves out."""

    def __init__(self, width: int = 6, *, project: bool = True, crossed: bool = False) -> None:
        super().__init__()
        self.mix = nn.Linear(width, width)
        self.out = nn.Linear(width, width) if project else nn.Identity()
        self.other = nn.Linear(width, width) if crossed else None

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        x = self.out(self.mix(x))
        return x if context is None or self.other is None else x + self.other(context)


@unused_with_option.good
class DoesNothingAtAll(nn.Module):
    """Whoever wants neither has no use for it."""

    def __init__(self, width: int = 6, *, scales: bool = True, adds: bool = False) -> None:
        super().__init__()
        self.mix, self.scales, self.adds = nn.Linear(width, width), scales, adds

    def forward(self, x: Tensor) -> Tensor:
        y = self.mix(x)
        x = x * y.sigmoid() if self.scales else x
        return x + y if self.adds else x


@unused_with_option.good
class FreezesItsCodes(nn.Module):
    def __init__(self, width: int = 6, *, frozen: bool = False) -> None:
        super().__init__()
        self.mix = nn.Linear(width, width)
        self.codes = nn.Parameter(torch.linspace(-1, 1, width), requires_grad=not frozen)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(x) + self.codes


@unused_with_option.good
class ReturnsFeatures(nn.Module):
    """Who takes the features has a head of their own."""

    def __init__(self, width: int = 6, *, return_features: bool = False) -> None:
        super().__init__()
        self.return_features = return_features
        self.body, self.head = nn.Linear(width, width), nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        features = self.body(x).relu()
        return features if self.return_features else self.head(features)
