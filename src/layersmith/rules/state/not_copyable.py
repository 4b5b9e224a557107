"""A deep copy must work, give the same output, and be independent of its original.

## Why it matters
Weight averaging, target networks, cloned layers (`copy.deepcopy(layer) for _ in range(n)`) and export all
start with a copy. A lambda or hook that holds on to `self` is copied as it is: the copy then runs with the
original's weights, and trains without learning.

## How it is tested
`copy.deepcopy` of the module, after a call; the copy's eval output must be the same, and must stay so when
all weights of the original are overwritten. Where only a call makes it fail, it is a warning. That torch
refuses parametrizations and the old weight_norm is torch's matter.

## How to fix it
Use methods instead of lambdas over `self`; keep locks, files and generators out of attributes, or leave
them out in `__getstate__`; store detached tensors only.

## How to reproduce it
    import copy
    run()
    copy.deepcopy(module)
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
import torch.nn.functional as F  # noqa: N812 - the name that everyone knows
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import closeness, contents, reading, source, tree
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

BY_DESIGN = ("parametrized modules", "RecursiveScriptModule")
HOLDS = r"lambda|partial\(|register_\w*hook|def \w+\("


@rule(
    severity=Severity.ERROR,
    since="0.1",
    promise=Promise.STATE_ROUND_TRIP,
    after=("forward-raises", "nondeterministic-eval", "unregistered-parameter"),
)
def not_copyable(case: Case) -> Iterator[Finding]:
    """Copy; compare; overwrite the original; compare again."""
    before = tree.clone(case.run())  # it may be a view of a weight
    try:
        again = copy.deepcopy(case.module)
    except Exception as error:  # noqa: BLE001 - that it fails is the finding
        if (finding := _refused(case, error)) is not None:
            yield finding
        return
    copied = Case(case.subject, again, case.inputs, case.seed)
    try:
        after = copied.run()
    except Exception as error:  # noqa: BLE001 - as above
        yield _loses(case, error)
        return
    if gaps := closeness.gaps(before, after):
        yield _differs(case, gaps[0], "a deep copy gives another output")
        return
    contents.scramble(case.module)
    if gaps := closeness.gaps(before, copied.run()):
        yield _differs(
            case, gaps[0], "a deep copy still uses the weights of its original: its output moved with them"
        )


def _refused(case: Case, error: Exception) -> Finding | None:
    text = " ".join(str(error).split())
    if any(reason in text for reason in BY_DESIGN) or _has_old_norm(case.module):
        return None
    held = contents.uncopied(case.module, way=copy.deepcopy)
    is_fresh = contents.does(copy.deepcopy, case.fresh().module)
    if is_fresh and held and isinstance(held.value, Tensor) and not held.value.ndim:
        return None  # a loss beside the output, kept until the next call, as mixtures of experts do
    when = " after a call" if is_fresh else ""
    place = source.class_line(type(case.module))
    if held:
        place = reading.setting_line(held.owner, held.attribute, case.module, held.path)
    return Finding(
        f"copy.deepcopy fails{when}{f' at {held.path}' if held else ''}: {type(error).__name__}: {text:.200}",
        held.path if held else "",
        *place,
        fix="keep detached tensors only (x.detach()), and no locks, files or generators, in attributes",
        severity=Severity.WARNING if is_fresh else None,
    )


def _loses(case: Case, error: Exception) -> Finding:
    hanging = [name for name, one in nn.Module.named_parameters(case.module) if vars(one)]
    return Finding(
        f"a deep copy cannot be called: {type(error).__name__}: {' '.join(str(error).split()):.200}",
        hanging[0] if hanging else "",
        *source.class_line(type(case.module)),
        fix="torch copies a parameter without what hangs on it: keep self.fast beside it, not self.weight.fast"
        if hanging
        else "keep whatever forward needs in attributes that copy.deepcopy takes along",
        severity=Severity.WARNING if hanging else None,
    )


def _has_old_norm(module: nn.Module) -> bool:
    """Whether the old weight_norm or spectral_norm is in it, whose computed weight refuses to be copied."""
    hooks = [hook for part in nn.Module.modules(module) for hook in part._forward_pre_hooks.values()]  # noqa: SLF001
    return any(type(hook).__name__ in ("WeightNorm", "SpectralNorm") for hook in hooks)


def _differs(case: Case, gap: closeness.Gap, text: str) -> Finding:
    return Finding(
        f"{text} ({gap.where} by {gap.max_abs:.2g}, limit {gap.limit:.2g})",
        gap.where,
        *reading.line_anywhere(case.module, HOLDS),
        fix="use methods instead of lambdas and local functions that hold on to self or to a weight",
        numbers={"max_abs": gap.max_abs, "limit": gap.limit},
    )


@not_copyable.bad("copy.deepcopy fails after a call at last")
class KeepsItsLastOutput(nn.Module):
    last: Tensor | None = None

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        self.last = self.linear(x)
        return self.last.relu()


@not_copyable.bad("still uses the weights of its original")
class LambdaOverItself(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(6))
        self.steps = [lambda x: x * self.scale, torch.relu]

    def forward(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = step(x)
        return x


@not_copyable.bad("a deep copy cannot be called: AttributeError: 'Parameter' object has no attribute 'fast'")
class HangsOnAParameter(nn.Linear):
    def __init__(self) -> None:
        super().__init__(6, 6)
        self.weight.fast = None  # type: ignore[attr-defined]

    def forward(self, x: Tensor) -> Tensor:
        fast: Tensor | None = self.weight.fast  # type: ignore[attr-defined]
        return F.linear(x, self.weight if fast is None else fast, self.bias)


@not_copyable.good
class KeepsADetachedOutput(nn.Module):
    last: Tensor | None = None

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        self.last = y.detach()
        return y.relu()
