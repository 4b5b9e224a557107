"""A module that promises shapes must return them, for every number of rows and every length that it takes.

## Why it matters
An axis that is squeezed away at batch size 1, or a transpose that fits only where two sizes are equal, is
found out by whoever calls it next, far away.

## How it is tested
`shape="b t d -> b t h"` names the axes of the inputs (a comma between two) and of the outputs. A name
stands for one size, a number for itself, `...` for any axes. The given sizes are tried, then each named
axis with one, two and one more where the module takes that; a batch (`b`, `batch`, `n`) of one row or one
more it must take.

## How to fix it
Name the axis: `squeeze(-1)`, not `squeeze()`; `x.mT`, not `x.T`; reshape by sizes taken from the input.

## How to reproduce it
    module.eval()
    before, after = (side.split() for side in type(module).layersmith_contract.declared["shape"].split("->"))
    for x in (args[0], args[0][:1]):
        sizes, found = dict(zip(before, x.shape)), tuple(run(x).shape)
        assert len(found) == len(after), f"{tuple(x.shape)} gives {found}"
        for name, size in zip(after, found):
            assert sizes.setdefault(name, size) == size, f"{name} is {sizes[name]} and {size}"
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import axes, source
from layersmith.promises import Promise, contract
from layersmith.rule import promised, rule
from layersmith.subject import Case


def read(value: object) -> axes.Pattern:
    """What the contract may say: `shape="b t d -> b t h"`."""
    return axes.parse(value)


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.DECLARED)
def shape(case: Case) -> Iterator[Finding]:
    """The given sizes, then others."""
    pattern = read(promised(case, "shape"))
    for name, inputs in [("", case.inputs), *pattern.variants(case.inputs)]:
        sizes = pattern.bound(inputs)
        said = pattern.shown(inputs)
        if isinstance(sizes, str):
            yield _finding(case, f"the inputs do not fit its shape {pattern.text!r}: {sizes}")
            return
        try:
            wrong = pattern.wrong(case.run(inputs), sizes)
        except Exception as error:  # noqa: BLE001 - only a batch must be free
            if name in axes.BATCH:
                text = f"{type(error).__name__}: {' '.join(str(error).split()):.120}"
                yield _finding(case, f"promises {pattern.text!r} but raises for {said}: {text}")
                return
            continue
        if wrong:
            yield _finding(case, f"promises {pattern.text!r} but for {said} {wrong}")
            return


def _finding(case: Case, text: str) -> Finding:
    file, line = source.class_line(type(case.module))
    return Finding(
        f"{type(case.module).__name__} {text}",
        "output",
        file,
        line,
        fix="name the axis in squeeze, mean and transpose; take sizes from the input",
    )


@shape.bad("promises 'b d -> b h' but for b=1")
@contract(shape="b d -> b h")
class SqueezesTheBatch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).squeeze()


@shape.bad("promises 'b t d -> b t'", inputs=lambda: torch.randn(3, 7, 6))
@contract(shape="b t d -> b t")
class PoolsTheWrongAxis(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


@shape.good(inputs=lambda: torch.randn(3, 7, 6))
@contract(shape="b t d -> b t 4")
class FourForEachStep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)
