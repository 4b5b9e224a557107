"""A rotary position code turns pairs of numbers, and so keeps the norm of what it turns.

## Why it matters
`x * cos + rotate_half(x) * sin` is a rotation only if both tables give the two numbers of a pair one angle. With tables
that are laid out for neighbours and a `rotate_half` that pairs the halves, or a wrong sign, it still trains; but scores
depend on absolute positions, and norms change along the sequence.

## How it is tested
Calls of the user's functions and modules whose names say that they apply a rotary code are heard of during one call.
What one returns for a query or key of the same shape must have its norm along some axis, but for one factor. One that
takes a scale, or tables that were inputs of the call, is not asked.

## How to fix it
`torch.cat((freqs, freqs), -1)` goes with `rotate_half` of two halves, `freqs.repeat_interleave(2, -1)` with pairs of
neighbours.

## How to reproduce it
    before, after = args[0].norm(dim=-1), run().norm(dim=-1)
    ratio = after / before
    assert ratio.std() < 1e-3 * ratio.mean(), "norms change"
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import tree
from layersmith.probe.listening import Called, Listening
from layersmith.probe.surroundings import preserved
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

WHOLE = r"(?:attention|attn|block|layer|transformer|encoder|decoder|model)"  # which do more than turn
NAMES = re.compile(
    rf"^(?!.*(?:xpos|rotate_half|rotate_every))(?!\w*{WHOLE}\w*\.forward)\w*\.?\w*(?:rotary|(?<![a-z])rope|apply_rot)",
    re.IGNORECASE,
)
SCALES = re.compile(r"scale|xpos|factor")
SPREAD = 1e-3  # of the ratio of norms


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.DECLARED)
def rotary_changes_norm(case: Case) -> Iterator[Finding]:
    """Compare the norms of what goes into each such function with those of what comes out."""
    floats = case.inputs.map(lambda one: one.requires_grad_() if tree.is_differentiable(one) else one)
    with preserved(seed=case.seed), torch.enable_grad(), Listening(NAMES) as heard:
        floats.call(case.module)
        heard.is_on = False
    pairs = [(call, *pair) for call in heard.calls for pair in _turned(call)]
    if not pairs:
        raise NotApplicable("no function or module applies a rotary code by its name")
    for call, before, after in pairs:
        if not _is_norm_kept(before.detach(), after.detach()):
            code = call.function.__code__
            yield Finding(
                f"{call.name}() changes the norm of what it turns: the two numbers of a pair have not one angle",
                call.name,
                code.co_filename,
                code.co_firstlineno,
                fix="cat((freqs, freqs), -1) for halves, freqs.repeat_interleave(2, -1) for neighbours",
            )
            return


def _turned(call: Called) -> Iterator[tuple[Tensor, Tensor]]:
    """The queries and keys that went in, each with what came out, where tables and scales are not the caller's."""
    given = {name: one for name, one in call.arguments.items() if isinstance(one, Tensor)}
    made = [one for one in tree.tensors(call.result) if one.requires_grad]
    turned: dict[str, tuple[Tensor, Tensor]] = {}
    for name, one in given.items():
        new = next((new for new in made if new.shape == one.shape and new is not one), None)
        if new is not None and one.requires_grad and one.ndim > 1:
            turned[name] = (one, new)
            made = [other for other in made if other is not new]
    others = [one for name, one in given.items() if name not in turned]
    is_scaled = any(SCALES.search(name) and value is not None for name, value in call.arguments.items())
    if not is_scaled and not any(one.requires_grad for one in others):
        yield from turned.values()


def _is_norm_kept(before: Tensor, after: Tensor) -> bool:
    """Whether the norm along some axis is kept, but for one factor."""
    for axis in range(1, before.ndim):
        ratio = after.double().norm(dim=axis) / before.double().norm(dim=axis)
        if bool(ratio.std() <= SPREAD * ratio.mean()):
            return True
    return False


class _Rotary(nn.Module):
    """(batch, steps, 6), turned by the step."""

    def angles(self, x: Tensor) -> Tensor:
        steps = torch.arange(x.shape[1], device=x.device, dtype=torch.float32)
        return steps[:, None] * torch.logspace(0, -2, x.shape[2] // 2, device=x.device)

    def halves(self, x: Tensor) -> Tensor:
        one, other = x.chunk(2, dim=-1)
        return torch.cat((-other, one), dim=-1)


@rotary_changes_norm.bad("forward() changes the norm", inputs=lambda: torch.randn(2, 5, 6))
class RotaryOfNeighboursAndHalves(_Rotary):
    def forward(self, x: Tensor) -> Tensor:
        angles = self.angles(x).repeat_interleave(2, dim=-1)
        return x * angles.cos().to(x) + self.halves(x) * angles.sin().to(x)


@rotary_changes_norm.bad("forward() changes the norm", inputs=lambda: torch.randn(2, 5, 6))
class RotaryWithoutItsSign(_Rotary):
    def forward(self, x: Tensor) -> Tensor:
        angles = torch.cat([self.angles(x)] * 2, dim=-1)
        return x * angles.cos().to(x) + x.roll(3, -1) * angles.sin().to(x)


@rotary_changes_norm.good(inputs=lambda: torch.randn(2, 5, 6))
class RotaryOfHalves(_Rotary):
    def forward(self, x: Tensor) -> Tensor:
        angles = torch.cat([self.angles(x)] * 2, dim=-1)
        return x * angles.cos().to(x) + self.halves(x) * angles.sin().to(x)


@rotary_changes_norm.good(inputs=lambda: torch.randn(2, 5, 6))
class RotaryWithAFactor(RotaryOfHalves):
    """Makes all longer by as much, as for contexts longer than those of training."""

    def forward(self, x: Tensor) -> Tensor:
        return 1.25 * super().forward(x)


@rotary_changes_norm.good(
    inputs=lambda: (torch.randn(2, 5, 6), torch.randn(5, 3, dtype=torch.complex64)),
)
class RotaryByTheCallersTable(nn.Module):
    """Whose numbers are the caller's, and not of length one here."""

    def forward(self, x: Tensor, table: Tensor) -> Tensor:
        pairs = torch.view_as_complex(x.unflatten(-1, (3, 2)))
        return torch.view_as_real(pairs * table).flatten(-2)
