"""A submodule that works in place must not change what others still read.

## Why it matters
`out = self.relu(x)` and then `out + x`, where `relu` was made with `inplace=True`: the shortcut carries the rectified
input, not the input. Nothing fails; the block computes another function than it says, and the same class without the
flag gives other numbers.

## How it is tested
The module is called with its submodules as they are, and once more with `inplace` off in all of them, in eval mode and
with the same seed. Saving memory is all that the flag is for: outputs that differ are reported, with the line at which
the first such submodule is called whose flag alone makes the difference.

## How to fix it
Take the flag away where the tensor is read again: before a shortcut, a second branch, or a list of features.

## How to reproduce it
    def copies():
        return (x.clone() if isinstance(x, torch.Tensor) else x for x in args)
    one = run(*copies())
    for part in nn.Module.modules(module):
        if getattr(part, "inplace", False):
            part.inplace = False
    torch.testing.assert_close(one, run(*copies()))
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import closeness, source
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case


@rule(
    severity=Severity.WARNING,
    since="0.1",
    promise=Promise.INPUTS_UNTOUCHED,
    after=("forward-raises", "nondeterministic-eval"),
)
def inplace_changes_output(case: Case) -> Iterator[Finding]:
    """Compare with what it gives where nothing works in place; then one flag after the other."""
    flagged = [path for path, part in case.module.named_modules() if _is_in_place(part)]
    if not flagged:
        raise NotApplicable("no submodule works in place")
    gap = _gap(case, without=flagged)
    if gap is None:
        return
    alone = [path for path in flagged if _gap(case, without=[path]) is not None]
    path = (alone or flagged)[0]
    file, line = source.parameter_line(case.module, path)
    yield Finding(
        f"{gap.where} differs by {gap.max_abs:.2g} from that without inplace=True: {path or 'it'} overwrites what is "
        f"read again afterwards",
        where=path,
        file=file,
        line=line,
        fix="inplace=False where the tensor is read again, as by a shortcut",
        numbers={"max_abs": gap.max_abs, "limit": gap.limit},
    )


def _is_in_place(part: nn.Module) -> bool:
    return getattr(part, "inplace", False) is True


def _gap(case: Case, *, without: Iterable[str]) -> closeness.Gap | None:
    """How far the outputs are from those with these flags off."""
    other = case.fresh()
    for path in without:
        other.module.get_submodule(path).inplace = False  # type: ignore[assignment]
    with torch.no_grad():
        outputs: tuple[Any, Any] = (case.fresh().run(), other.run())
    return next(iter(closeness.gaps(*outputs)), None)


class _Branch(nn.Module):
    def __init__(self, inplace: bool) -> None:
        super().__init__()
        self.relu, self.linear = nn.ReLU(inplace=inplace), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(self.relu(x))
        return y


@inplace_changes_output.bad("relu overwrites what is read again afterwards")
class RectifiesItsShortcut(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.relu, self.linear = nn.ReLU(inplace=True), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(self.relu(x))
        return y + x


@inplace_changes_output.bad("second.relu overwrites what is read again afterwards")
class CollectsItsFeatures(nn.Module):
    """The second branch rectifies what the first has put on the list."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), _Branch(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        features = [self.first(x)]
        features.append(self.second(features[-1]))
        return torch.cat(features, dim=-1)


@inplace_changes_output.good
class RectifiesWhatNobodyReadsAgain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.relu, self.second = nn.Linear(6, 6), nn.ReLU(inplace=True), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(self.relu(self.first(x)))
        return y + x


@inplace_changes_output.good
class AddsItsShortcutFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.relu = nn.Linear(6, 6), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.relu(self.linear(x) + x)
        return y
