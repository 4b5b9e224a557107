"""In bfloat16 the answer must be as good as bfloat16 allows.

## Why it matters
A running sum kept in bfloat16 stands still once it is 256 times its terms; a position above 256 has no number
of its own; a variance by `E[x^2] - E[x]^2` loses all digits. The model still trains, worse, and nothing says
why.

## How it is tested
Module and inputs are rounded to bfloat16, and the result compared with the same numbers computed in float64.
What one rounding of the inputs and weights changes is the scale: an error of many times that, and of a good
part of the output, is made by the algorithm. Not asked where it makes choices (argmax, comparisons), which one
rounding can turn. Asked of the example and of inputs shifted by 8, where differences of large numbers show.

## How to fix it
Sums, means, variances and positions in float32: `x.float()`, then `.to(x.dtype)` for the result.

## How to reproduce it
    import copy
    module, rounded = module.eval(), [x.abs().bfloat16() for x in args]
    exact = copy.deepcopy(module).bfloat16().double()(*(x.double() for x in rounded), **kwargs)
    error = (module.bfloat16()(*rounded, **kwargs).double() - exact).abs().max() / exact.abs().max()
    assert error < 0.05, f"in bfloat16 the answer is off by {error:.0%}"
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import closeness, reading, steps, tree
from layersmith.probe.halves import QuickHalves
from layersmith.probe.inputs import Inputs
from layersmith.probe.surroundings import preserved
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

SHIFT = 8.0
CHOICES = frozenset(
    (
        "argmax argmin max min topk sort argsort round floor ceil trunc sign nonzero where gt lt ge le eq ne "
        "one_hot bucketize searchsorted multinomial median kthvalue unique long int remainder fmod hardshrink"
    ).split()
)
SUMS = r"cumsum|\+=|\.sum\(|\.mean\(|\.pow\(|\*\*\s*2|square|arange"


@rule(
    severity=Severity.WARNING,
    since="0.1",
    promise=Promise.LOW_PRECISION,
    after=("forward-raises", "nondeterministic-eval", "hard-coded-dtype", "upcast-output", "half-overflow"),
)
def low_precision_drift(case: Case) -> Iterator[Finding]:
    """Compare with float64, and with what one rounding explains."""
    if not any(tensor.is_floating_point() for tensor in case.inputs.tensors()):
        raise NotApplicable("no floating input")
    low = case.fresh(dtype=torch.bfloat16)
    for name, shift in (("the example", 0.0), (f"inputs + {SHIFT:g}", SHIFT)):
        moved = case.inputs.map(lambda x, shift=shift: x + shift if x.is_floating_point() else x)
        rounded = moved.to(torch.bfloat16)
        try:
            with steps.Steps() as seen, QuickHalves():
                rough = _floats(low.run(rounded))
        except Exception as error:
            raise NotApplicable(f"it does not run in bfloat16: {error!s:.100}") from error
        if any(step.operation.strip("_") in CHOICES for step in seen.seen):
            raise NotApplicable("it makes choices, which one rounding can turn")
        wide = case.fresh(dtype=torch.bfloat16).module.double()
        exact = _floats(rounded.to(torch.float64).call(wide))
        try:
            explained = _explained(wide, rounded.to(torch.float64), exact)
        except RuntimeError as error:  # probabilities that a jolt takes beyond 1
            raise NotApplicable(f"it refuses inputs one rounding away: {error!s:.100}") from error
        for index, (a, b) in enumerate(zip(rough, exact, strict=False)):
            error_size, scale = float((a.double() - b).abs().max()), float(b.abs().max())
            limit = max(closeness.DRIFT_ROUNDINGS * explained[index], closeness.DRIFT_SHARE * scale)
            is_asked = a.dtype is torch.bfloat16 and a.shape == b.shape and scale > closeness.DRIFT_LEAST
            is_asked &= math.isfinite(error_size)  # beyond what the dtype holds: half-overflow speaks of it
            if is_asked and error_size > limit:
                yield _finding(case.module, name, error_size, scale, limit)
                return


def _floats(output: object) -> list[Tensor]:
    return [
        tensor.detach() for tensor in tree.tensors(output) if tensor.is_floating_point() and tensor.numel()
    ]


def _explained(module: nn.Module, inputs: Inputs, exact: list[Tensor]) -> list[float]:
    """How far each output moves when inputs and weights do, by about one rounding of bfloat16."""
    step = torch.finfo(torch.bfloat16).eps
    moved = [0.0] * len(exact)
    with preserved(seed=0), torch.no_grad():
        weights = [(weight, weight.clone()) for weight in module.parameters() if weight.is_floating_point()]
        for _ in range(2):
            for weight, old in weights:
                weight.copy_(_jolted(old, step))
            others = _floats(
                inputs.map(lambda x: _jolted(x, step) if x.is_floating_point() else x).call(module)
            )
            for index, (a, b) in enumerate(zip(others, exact, strict=False)):
                moved[index] = max(
                    moved[index], float((a - b).abs().max()) if a.shape == b.shape else torch.inf
                )
    return moved


def _jolted(x: Tensor, step: float) -> Any:
    return x * (1 + step * (2 * torch.rand_like(x) - 1))


def _finding(module: nn.Module, name: str, error: float, scale: float, limit: float) -> Finding:
    return Finding(
        f"in bfloat16 an output is off by {error:.2g} of {scale:.2g} for {name}, limit {limit:.2g} by rounding alone",
        "output",
        *reading.line_with(module, SUMS),
        fix="accumulate in float32: x.float(), and .to(x.dtype) for the result",
        numbers={"max_abs": error, "limit": limit},
    )


@low_precision_drift.bad("for the example", inputs=lambda: torch.rand(2, 900, 1) + 0.1)
class AddsUpInALoop(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        total = torch.zeros_like(x[:, 0])
        for step in range(x.shape[1]):
            total = total + x[:, step]
        return total


@low_precision_drift.bad("an output is off by", inputs=lambda: torch.randn(2, 600, 4))
class CountsInTheInputsDtype(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        positions = torch.arange(x.shape[1], device=x.device).to(x.dtype)
        return x + (positions * 0.5).sin()[None, :, None]


@low_precision_drift.good(inputs=lambda: torch.rand(2, 900, 1) + 0.1)
class AddsUpInFloat32(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.float().sum(1).to(x.dtype)


@low_precision_drift.good
class NormalisesInFloat32(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(6)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x).relu()


@low_precision_drift.good
class SaysHowFarFromOne(nn.Module):
    """Of a logarithm of one nothing is left but rounding."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shares = x.softmax(-1)
        return shares, (shares.sum(-1) + 1e-7).log()


@low_precision_drift.good(inputs=lambda: (torch.randn(4, 6), torch.rand(4, 6)))
class FocusesOnWhatIsHard(nn.Module):
    """Targets beyond 1 are none of its own."""

    def forward(self, scores: Tensor, targets: Tensor) -> Tensor:
        entropy = nn.functional.binary_cross_entropy_with_logits(scores, targets, reduction="none")
        return ((1 - torch.exp(-entropy)) ** 2 * entropy).mean()
