"""Forward must not change its arguments in place.

## Why it matters
The caller still holds the tensor: a residual connection around the layer, a second metric on the same batch,
or a dataset held in memory then sees other numbers, without any error.

## How it is tested
The inputs are compared with a copy taken before the call, in eval and in train mode, and the operation after which
they differ is found. A dict or list that gained, lost or changed members is a warning. A change that comes only
from a submodule with `inplace=True` is declared by its author and not reported. Where forward has a line that writes to
an argument and did not come to it, flags and choices of the constructor are changed, one at a time.

## How to fix it
Use the operation without the underscore (`x = x + 1`, not `x += 1`), or `x = x.clone()` first.

## How to reproduce it
    before = torch.utils._pytree.tree_map(lambda x: x.clone() if isinstance(x, torch.Tensor) else x, (args, kwargs))
    run()
    same = torch.utils._pytree.tree_map(lambda x, y: torch.equal(x, y), before, (args, kwargs))
    assert all(torch.utils._pytree.tree_leaves(same)), "an input has changed"
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.load.attempt import Deadline
from layersmith.load.trials import Trials
from layersmith.load.values import written
from layersmith.probe import closeness, source, steps, writes
from layersmith.probe.inputs import Inputs
from layersmith.probe.modes import in_mode
from layersmith.probe.surroundings import preserved
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

DECLARED = re.compile(r"overwrit|in_?place|destruct|mutat|copy")  # by which an author says that it may
SECONDS = 2.0  # of CPU for all options of one class


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.INPUTS_UNTOUCHED)
def input_modified(case: Case) -> Iterator[Finding]:
    """Call it on a copy of the inputs and look at the copy; if that changed, again, to see where."""
    for training in (False, True):
        held = case.inputs.clone()
        own = dict(held.named_tensors())
        _call(case.fresh(training=training), held)
        gaps = [closeness.gap(old, own[path], where=path) for path, old in case.inputs.named_tensors()]
        if changed := [gap for gap in gaps if gap.max_abs > 0]:
            yield _finding(changed, _place(case, training=training))
            return
        now = dict(held.named_tensors())
        if members := [path for path in own.keys() | now.keys() if own.get(path) is not now.get(path)]:
            yield _members(sorted(members), _place(case, training=training))
            return
    yield from _with_options(case)


def _with_options(case: Case) -> Iterator[Finding]:
    """The same with one flag or choice changed, where forward writes to an argument and has not done so yet."""
    construction, lines = case.subject.construction, [*writes.to_arguments(type(case.module))]
    if construction is None or not lines:
        return
    trials = Trials(case, construction, Deadline.after(SECONDS))
    for option, module in trials.choices():
        if DECLARED.search(option.name):
            continue
        held = trials.inputs.clone()
        with contextlib.suppress(Exception):  # what it raises is another rule's business
            _call(Case(case.subject, in_mode(module, training=False), held, case.seed), held)
        pairs = zip(trials.inputs.named_tensors(), held.tensors(), strict=True)
        gaps = [closeness.gap(old, now, where=path) for (path, old), now in pairs if old.shape == now.shape]
        if changed := [gap for gap in gaps if gap.max_abs > 0]:
            yield _finding(changed, lines[0], f"with {option.name}={written(option.value)} ")
            return


def _call(case: Case, held: Inputs) -> None:
    for module in nn.Module.modules(case.module):
        if getattr(module, "inplace", False) is True:
            module.inplace = False  # type: ignore[assignment]
    with preserved(seed=case.seed):
        case.module(*held.args, **held.kwargs)


def _place(case: Case, *, training: bool) -> tuple[str, int]:
    """File and line of the first operation after which an argument is no longer what it was."""
    held = case.inputs.clone()
    own = dict(held.named_tensors())

    def differs(_: object) -> bool:
        is_held = all(own.get(path) is tensor for path, tensor in held.named_tensors())
        return not is_held or any(
            closeness.gap(old, own[p]).max_abs > 0 for p, old in case.inputs.named_tensors()
        )

    watched = steps.Steps(differs)
    with watched:
        _call(case.fresh(training=training), held)
    found = next((step for step in watched.seen if step.noted and not source.is_machinery(step.file)), None)
    return (found.file, found.line) if found is not None else source.class_line(type(case.module))


def _finding(gaps: list[closeness.Gap], place: tuple[str, int], option: str = "") -> Finding:
    worst = max(gap.max_abs for gap in gaps)
    return Finding(
        f"{option}forward changed {', '.join(gap.where for gap in gaps)} in place, by up to {worst:.2g}",
        where=gaps[0].where,
        file=place[0],
        line=place[1],
        fix="use the out-of-place operation, or x = x.clone() first",
        numbers={"max_abs": worst, "limit": 0.0},
    )


def _members(paths: list[str], place: tuple[str, int]) -> Finding:
    return Finding(
        f"forward added, removed or replaced {', '.join(paths)}: the caller's own dict or list changes",
        where=paths[0],
        file=place[0],
        line=place[1],
        fix="work on a copy: dict(batch), [*features]",
        severity=Severity.WARNING,
    )


@input_modified.bad("changed input[0] in place")
class AddsInPlace(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x += 1.0
        return x


@input_modified.bad("with kind='rows' forward changed input[0] in place")
class CentresByOption(nn.Module):
    def __init__(self, kind: str = "all") -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "rows":
            for row in range(len(x)):
                x[row] = x[row] - x[row].mean()
            return x
        return x - x.mean()


@input_modified.bad("changed input[0] in place")
class MasksInPlace(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x[x < 0] = 0.0
        return x * 2


@input_modified.bad(
    "replaced input[0]['mask']", inputs=lambda: ({"x": torch.ones(4, 6), "mask": torch.ones(6)},)
)
class TakesFromItsDict(nn.Module):
    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        mask = batch.pop("mask")
        return batch["x"] * mask


@input_modified.good
class AddsToACopy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x = x.clone()
        x += 1.0
        return x


@input_modified.good
class SaysThatItIsInPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(x)
