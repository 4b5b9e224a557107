"""The log-determinant that a flow returns must be that of its own Jacobian.

## Why it matters
The loss of a flow is its log-determinant and a base density. Where a step forgets a term, or the rows and columns that
share a channel's scale, the loss falls as it should and the density is wrong: likelihoods mean nothing, and samples
look blurred or burnt.

## How it is tested
Of a module that returns beside its output what its code calls a log-determinant (`logdet`, `log_det`, `ldj`, `log_jac`,
or a sum where its file speaks of such), and that speaks of an inverse or a flow: the Jacobian of the output with
respect to the input is computed by autograd, in float64 and eval mode, row by row, after parameters that start as one
number have been moved a little. Per row, what is returned must be its log-determinant: of either sign, as both
directions are in use, and once for all rows or summed over them. A mean over elements, as for bits per dimension,
passes, and so does a factor that the code has. What has another size than its input, draws random numbers, mixes rows,
or estimates a trace is not asked; nor is what is added to a likelihood.

## How to fix it
Sum the logarithm of every scale once for each element it scales: `H * W * log_scale.sum()` for one scale a channel, and
add up what all steps return.

## How to reproduce it
    module.double().eval()
    for parameter in module.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    args = tuple(x[:1].double() for x in args)
    out = module(*args, **kwargs)
    assert isinstance(out, tuple), "no log-determinant"
    found = torch.autograd.functional.jacobian(lambda *args: module(*args, **kwargs)[0], args)[0]
    true, told = found.reshape(args[0].numel(), -1).slogdet()[1], out[1].sum()
    assert torch.allclose(told.abs(), true.abs(), 1e-3, 1e-3), f"{told:.4g}, not {true:.4g}"
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import arguments, log_determinants, reading, sides, undoing
from layersmith.probe.inputs import Inputs
from layersmith.probe.surroundings import preserved
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

OF_FLOWS = r"(?i)invers|invert|reverse|\bflow|bijec|jacobian"
PER_ELEMENT = (
    r"(?i)\.mean\(|bits|bpd|log\(2|numel|prod\(|det\w*\s*[*/]|\*\s*log_?det|/\s*\(?\s*(?:[chwdn]|dim)\b"
)
APPROXIMATE = r"(?i)trace|hutchinson|diverg|\bode|power[ _]series|neumann|n_terms"
SEQUENCE = 3  # axes
MOST = 512  # numbers in a row: as many backward passes
NEAR = 1e-3  # relative to the larger of the two, or absolute


@rule(
    severity=Severity.WARNING,
    since="0.1",
    promise=Promise.DECLARED,
    after=("forward-raises", "nondeterministic-eval", "hard-coded-dtype", "batch-leak"),
)
def wrong_log_determinant(case: Case) -> Iterator[Finding]:
    """Compare what is returned with the Jacobian's own, row by row."""
    place = log_determinants.place(type(case.module))
    is_exact = not reading.says(case.module, APPROXIMATE)
    if place is None or not is_exact or not reading.says(case.module, OF_FLOWS):
        raise NotApplicable("it returns no log-determinant that its code calls so")
    asked = case.fresh(dtype=torch.float64)
    asked.run()  # the first call may initialise
    undoing.stir(asked.module)
    smaller = (asked.inputs, sides.cut(asked.inputs, 4), sides.cut(asked.inputs, 2))
    pairs = (_told_and_true(asked, inputs, place) for inputs in smaller)
    pair = next(filter(None, pairs), None)
    if pair is None:
        raise NotApplicable("its output is not one row for each of its input, of no more than 512 numbers")
    told, true = pair
    if not any(_is_near(told, sign * true) for sign in (1, -1)) and not _is_by_a_factor(
        case.module, told, true
    ):
        yield _finding(case.module, float(told.sum()), float(true.sum()))


def _told_and_true(asked: Case, inputs: Inputs, place: int) -> tuple[Tensor, Tensor] | None:
    """What the module returns as log-determinant of each row, and what it is; None where it cannot be asked."""
    x = next((one for one in inputs.tensors() if one.is_floating_point() and one.ndim > 1), None)
    if x is None or not 0 < x[:1].numel() <= MOST:
        return None
    if x.ndim == SEQUENCE and asked.subject.inferred_from:  # a guess, with an axis more than is meant perhaps
        return None
    so_far = {
        id(one)
        for _, name, one in arguments.named(asked.module, inputs)
        if log_determinants.NAMES.search(name)
    }
    leaf = x.detach().clone().requires_grad_()
    given = inputs.map(lambda one: leaf if one is x else one.detach() * (id(one) not in so_far))
    with preserved(seed=asked.seed), torch.enable_grad():
        try:
            output: Any = asked.module(*given.args, **given.kwargs)
        except Exception:  # noqa: BLE001 - the sides are not its own, or it needs no gradient
            return None
        y, told = (output[0], output[place]) if isinstance(output, list | tuple) else (None, None)
        true = log_determinants.of_rows(y, leaf) if isinstance(y, Tensor) else None
    if true is None or not isinstance(told, Tensor):
        return None
    told, rows = told.detach().double(), len(x)
    is_by_row = told.ndim and len(told) == rows
    if not is_by_row and told.numel() != 1:
        return None
    return (told.reshape(rows, -1).sum(1) if is_by_row else told.reshape(1).expand(rows)), true


def _is_near(told: Tensor, true: Tensor) -> bool:
    """Row by row; or one number that is the sum, or the mean, over all rows."""
    ways = [(told, true)]
    if bool((told == told[0]).all()):
        ways += [(told[:1], true.sum()[None]), (told[:1], true.mean()[None])]
    return any(torch.allclose(one, other, rtol=NEAR, atol=NEAR) for one, other in ways)


def _is_by_a_factor(module: nn.Module, told: Tensor, true: Tensor) -> bool:
    """Whether it is another by one factor for all rows and the code speaks of a mean, of bits or of a factor."""
    ratio = told / true
    is_constant = torch.allclose(ratio, ratio[:1].expand_as(ratio), rtol=NEAR)
    return is_constant and reading.says(module, PER_ELEMENT)


def _finding(module: nn.Module, told: float, true: float) -> Finding:
    file, line = reading.line_with(module, rf"{log_determinants.NAMES.pattern}\w*\s*\+?=|^\s*return\b.*,")
    return Finding(
        f"the log-determinant that forward returns is {told:.4g}, that of its Jacobian {true:.4g}",
        file=file,
        line=line,
        fix="sum the logarithm of each scale once for every element that it scales",
        numbers={"told": told, "true": true},
    )


@wrong_log_determinant.bad("the log-determinant that forward returns", inputs=lambda: torch.randn(2, 3, 4, 4))
class ForgetsRowsAndColumns(nn.Module):
    """One step of a flow."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logdet = self.log_scale.sum()
        return x * self.log_scale.exp(), logdet.expand(len(x))

    def inverse(self, y: Tensor) -> Tensor:
        return y * (-self.log_scale).exp()


@wrong_log_determinant.bad("the log-determinant that forward returns")
class ForgetsASquash(nn.Module):
    """Returns its output and the log-determinant."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(3, 6)

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        a, b = x.chunk(2, dim=-1)
        log_scale, shift = self.net(a).chunk(2, dim=-1)
        return a, b, log_scale, shift

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a, b, log_scale, shift = self.parts(x)
        return torch.cat([a, b * log_scale.tanh().exp() + shift], dim=-1), log_scale.sum(-1)

    def inverse(self, y: Tensor) -> Tensor:
        a, b, log_scale, shift = self.parts(y)
        return torch.cat([a, (b - shift) * (-log_scale.tanh()).exp()], dim=-1)


@wrong_log_determinant.good
class CountsEveryScale(ForgetsASquash):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a, b, log_scale, shift = self.parts(x)
        log_scale = log_scale.tanh()
        return torch.cat([a, b * log_scale.exp() + shift], dim=-1), log_scale.sum(-1)


@wrong_log_determinant.good
class CountsOfTheInverse(ForgetsASquash):
    """What is minimised is that of the other direction."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a, b, log_scale, shift = self.parts(x)
        log_scale = log_scale.tanh()
        log_det = -log_scale.sum(-1, keepdim=True)
        return torch.cat([a, b * log_scale.exp() + shift], dim=-1), log_det


@wrong_log_determinant.good(inputs=lambda: torch.randn(2, 3, 4, 4))
class BitsPerDimension(ForgetsRowsAndColumns):
    """The mean over elements, of which the loss is made."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_det = self.log_scale.mean()
        return x * self.log_scale.exp(), log_det
