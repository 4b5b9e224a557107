"""A norm that is called RMS divides by the root of the mean square, which the mean of its input is part of.

## Why it matters
`x * torch.rsqrt(x.var(-1) + eps)` is the same for inputs around zero. Others it blows up: it divides by how far the
numbers lie from their mean, without taking that mean away. Weights that were trained with the right norm answer nonsense.

## How it is tested
Asked of classes whose name ends with `RMSNorm`, `RmsNorm2d` and the like. The output for the first input shifted by 8
must have the same root mean square as that for the input itself.

## How to fix it
`x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)`.

## How to reproduce it
    shifted = run(args[0] + 8, *args[1:]).square().mean().sqrt()
    usual = run().square().mean().sqrt()
    assert 0.5 < shifted / usual < 2, f"{shifted:.2g} instead of {usual:.2g}"
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import closeness, reading, tree
from layersmith.probe.arguments import replaced
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

NAME = re.compile(r"(?:^|[a-z\d_])(?:RMS|Rms)_?(?:Layer)?Norm(?:alization)?(?:\dd)?$")
SHIFT = 8.0
STATISTIC = r"\.var\(|torch\.var|\.std\(|torch\.std|rms_?norm|rsqrt|sqrt"


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.DECLARED)
def wrong_root_mean_square(case: Case) -> Iterator[Finding]:
    """Shift the input, and compare how large the outputs are."""
    x = next(iter(case.inputs.tensors()), None)
    if not NAME.search(type(case.module).__name__) or x is None or not x.is_floating_point():
        raise NotApplicable("its name does not say that it is a root mean square norm")
    usual = _size(case.run())
    shifted = _size(case.run(replaced(case.inputs, {id(x): x + SHIFT})))
    if usual and shifted and max(shifted / usual, usual / shifted) > closeness.NORM_RATIO:
        yield Finding(
            f"the root mean square of the output is {usual:.2g}, and {shifted:.2g} for inputs + {SHIFT:g}: it divides by "
            "something else than the root mean square of the input",
            "output",
            *reading.line_with(case.module, STATISTIC),
            fix="x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)",
            numbers={"usual": usual, "shifted": shifted},
        )


def _size(output: object) -> float:
    found = next((one for one in tree.tensors(output) if one.is_floating_point()), None)
    return closeness.rms(found) if found is not None else 0.0


class _Norm(nn.Module):
    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))


@wrong_root_mean_square.bad("for inputs + 8: it divides by something else")
class DividesRMSNorm(_Norm):
    """By the standard deviation."""

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x * torch.rsqrt(x.var(-1, keepdim=True, unbiased=False) + 1e-5)


@wrong_root_mean_square.bad("for inputs + 8: it divides by something else")
class ForgetsItsRootRMSNorm(_Norm):
    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x / (x.square().mean(-1, keepdim=True) + 1e-5)


@wrong_root_mean_square.good
class PlainRMSNorm(_Norm):
    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x * torch.rsqrt(x.float().square().mean(-1, keepdim=True) + 1e-5).to(x.dtype)


@wrong_root_mean_square.good
class CenteredRMSNorm(_Norm):
    """Takes the mean away first."""

    def forward(self, x: Tensor) -> Tensor:
        x = x - x.mean(-1, keepdim=True)
        return self.weight * x * torch.rsqrt(x.float().square().mean(-1, keepdim=True) + 1e-5).to(x.dtype)
