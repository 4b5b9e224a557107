"""Where the outputs are finite, the gradients must be.

## Why it matters
One NaN in one gradient makes NaN of every weight at the next step. It comes from a square root at zero, the norm of a
padded row, a logarithm behind `torch.where`, whose other branch counts in backward too: it is finite forward, and
waits for the first zero in the data.

## How it is tested
Forward and backward on the inputs as they are, with all zeros in one of them, with all its rows equal, with rows that
are those of a table of the module's own (prototypes, centres of classes), and with two inputs equal. Only where every
output is finite are the gradients asked; the operation whose backward first makes NaN or infinity is named. For the usual
inputs it is an error, at an edge a warning. What a layer of torch does by itself is left alone, and at an edge what only
overflows, as float64 tells.

## How to fix it
Add a small number under the root (`(x.square().sum(-1) + eps).sqrt()`), clamp before `log` or a division, and choose
safe values before the operation, not only after it: `torch.where(ok, x, 1.0).log()`.

## How to reproduce it
    leaves = [torch.zeros_like(x).requires_grad_() for x in args]
    output = run(*leaves)
    gradients = torch.autograd.grad(output.sum(), leaves)
    assert not output.isfinite().all() or all(g.isfinite().all() for g in gradients), "a finite output, a NaN gradient"
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import source
from layersmith.probe.gradients.edges import Explosion, edges, explosion, origin
from layersmith.probe.inputs import Inputs
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

USUAL = "ordinary inputs"


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.FINITE)
def nonfinite_gradient(case: Case) -> Iterator[Finding]:
    """Ask at each edge; one finding a line, that of the most usual inputs."""
    told: set[tuple[str, int]] = set()
    fresh = case.fresh(training=True)
    for edge, inputs in edges(fresh.module, case.inputs):
        if _explodes(fresh, inputs, edge) is None:
            continue
        again = case.fresh(training=True)  # the other has seen other edges
        found = _explodes(again, inputs, edge)
        if found is None:
            continue
        if edge != USUAL and _overflows(case, inputs, edge):
            continue
        operation, file, line = origin(again.module, inputs, seed=case.seed)
        if (file, line) not in told and not _is_torchs_own(again.module, line):
            told.add((file, line))
            yield _finding(found, operation, file, line)


def _explodes(case: Case, inputs: Inputs, edge: str) -> Explosion | None:
    try:
        return explosion(case.module, inputs, edge, seed=case.seed)
    except Exception:  # noqa: BLE001 - an edge need not be accepted, nor backward work: other rules ask
        return None


def _overflows(case: Case, inputs: Inputs, edge: str) -> bool:
    """Whether the gradients are finite in float64: of equal rows each norm returns 1 / sqrt(eps) times its own."""
    wide = inputs.map(lambda one: one.double() if one.is_floating_point() else one)
    try:
        return (
            explosion(case.fresh(training=True, dtype=torch.float64).module, wide, edge, seed=case.seed)
            is None
        )
    except Exception:  # noqa: BLE001 - what holds float32 need not take float64
        return False


def _is_torchs_own(module: nn.Module, line: int) -> bool:
    """Whether no code but torch's takes part."""
    classes: set[type] = {type(part) for part in nn.Module.modules(module)}
    return not line and all(source.file_of(cls).startswith(source.TORCH) for cls in classes)


def _finding(found: Explosion, operation: str, file: str, line: int) -> Finding:
    cause = f"; it comes from the backward of `{operation}`" if operation else ""
    is_usual = found.edge == USUAL
    return Finding(
        f"with {found.edge}, d loss/d {found.tensor} is not finite though every output is{cause}",
        where=found.tensor,
        file=file,
        line=line,
        fix="keep the argument away from where the derivative is infinite: + eps under the root, clamp before log",
        severity=Severity.ERROR if is_usual else None,
    )


@nonfinite_gradient.bad("with input[0] all zeros, d loss/d input[0] is not finite")
class NormsByHand(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / (x.square().sum(-1, keepdim=True).sqrt() + 1.0)


@nonfinite_gradient.bad("with ordinary inputs, d loss/d input[0] is not finite")
class ChoosesTooLate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, (x * (x > 0)).sqrt(), torch.zeros_like(x))


@nonfinite_gradient.bad(
    "with input[0] equal to input[1]",
    inputs=lambda: (torch.randn(4, 6), torch.randn(4, 6), torch.randn(4, 6)),
)
class Triplets(nn.Module):
    def forward(self, x: Tensor, same: Tensor, other: Tensor) -> Tensor:
        near, far = ((x - one).square().sum(-1).sqrt() for one in (same, other))
        return (near - far + 1.0).relu()


@nonfinite_gradient.bad("with rows of input[0] equal to those of centres")
class AngleToCentres(nn.Module):
    """The sine is zero where a row lies in its centre, and the root's derivative infinite."""

    def __init__(self, width: int = 6, classes: int = 5) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(classes, width))

    def forward(self, x: Tensor) -> Tensor:
        apart = (x[..., None, :] - self.centres).square().sum(-1)
        return apart.sqrt()


@nonfinite_gradient.good
class NormsWithTorch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / (x.norm(dim=-1, keepdim=True) + 1.0)


@nonfinite_gradient.good
class ChoosesBefore(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        safe = torch.where(x > 0, x, torch.ones_like(x))
        return torch.where(x > 0, safe.sqrt(), x)


@nonfinite_gradient.good
class NormalisesOften(nn.Module):
    """Of equal rows each norm returns 1 / sqrt(eps) times the gradient: enough of them overflow."""

    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU()) for _ in range(24)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)
