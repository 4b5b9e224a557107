"""In float16 ordinary inputs must not overflow.

## Why it matters
float16 ends at 65504 and has nothing below 6e-8: a mask of -1e9, a sum of squares, an eps of 1e-8 work in
float32 and in bfloat16, and give inf or NaN under `.half()` and mixed precision, often only after hours.

## How it is tested
Where float32 answers with ordinary numbers, float16 must answer with finite ones: for the example's inputs, for
ten times those, and for zeros, where an eps that float16 cannot hold is 0 / 0; the latter two are notes, and so is what
a call in train mode mends, as of an observer that has seen nothing yet. It is also called with steps hidden by each mask
that forward takes; that a constant is too large for it then is a note, unless the file speaks of half precision. A norm,
whose answer does not depend on how large its first input is, must answer alike for inputs of some hundreds: a note,
unless the file speaks of half precision or the class of float32.

## How to fix it
`torch.finfo(x.dtype).min` for masks; squares, sums and norms in float32, cast back; an eps of 1e-5 or
`finfo(x.dtype).tiny`.

## How to reproduce it
    module.eval()
    assert run().isfinite().all()
    half = module.half()(*(x.half() if x.is_floating_point() else x for x in args), **kwargs)
    assert half.isfinite().all(), "in float16 it overflows"
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.observations import maskings
from layersmith.probe import closeness, halves, masks, reading, source, steps, tree
from layersmith.probe.halves import QuickHalves
from layersmith.probe.inputs import Inputs
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

AFTER = ("forward-raises", "nondeterministic-eval", "hard-coded-dtype", "nonfinite-output", "upcast-output")
OWN = {"normalize", "cosine_similarity", "pairwise_distance", "cosine_embedding_loss", "layer_norm"}
TOO_LARGE = "Half without overflow"
LOUD = 300.0  # times an ordinary input: activations of trained networks are as large
HALVES = r"float16|\.half\(|autocast|\bamp\b|fp16"  # in a file written for them: elsewhere -1e9 will do


@dataclass(frozen=True, slots=True)
class _Call:
    """Inputs, in words too, and how grave it is where they fail."""

    name: str
    inputs: Inputs
    severity: Severity = Severity.WARNING
    is_masked: bool = False


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.LOW_PRECISION, after=AFTER)
def half_overflow(case: Case) -> Iterator[Finding]:
    """Several calls in both precisions; the first that only float16 fails is the finding."""
    if not any(tensor.is_floating_point() for tensor in case.inputs.tensors()):
        raise NotApplicable("no floating input")
    low = case.fresh(dtype=torch.float16)
    if not all(bool(x.isfinite().all()) for x in low.module.state_dict().values() if isinstance(x, Tensor)):
        raise NotApplicable("its own constants are infinite in float16")
    for call in _calls(case):
        try:
            with QuickHalves():
                is_asked = _is_ordinary(case.run(call.inputs))
                is_sound = not is_asked or tree.is_finite(low.run(call.inputs.to(torch.float16)))
            if is_sound:
                continue
        except Exception as error:
            if TOO_LARGE in str(error):
                yield _too_large(error, low.module, is_masked=call.is_masked)
                return
            raise NotApplicable(f"it does not run in float16: {error!s:.100}") from error
        if (step := _start(case, call.inputs)) is None or step.operation not in OWN:
            is_early = halves.are_sound_once_used(case.fresh().module, call.inputs)
            yield _finding(case.module, step, call.name, Severity.NOTE if is_early else call.severity)
            return
    yield from _statistics(case, low)


def _statistics(case: Case, low: Case) -> Iterator[Finding]:
    """Of a norm, which answers alike however large its input is: whether its squares overflow at some hundreds."""
    usual = case.run_fresh(case.inputs)
    runs = ((loud, case.run_fresh(loud)) for loud in halves.louder(case.inputs, LOUD))
    loud, full = next((run for run in runs if halves.is_of_a_norm(usual, run[1])), (None, None))
    if loud is None:
        return
    with QuickHalves():
        what = halves.lost(full, low.run(loud.to(torch.float16)))
    if what:
        step = _start(case, loud)
        cls: type = type(case.module)
        place = (step.file, step.line) if step is not None else source.class_line(cls)
        is_meant = reading.file_mentions(place[0], HALVES) or "float32" in source.text_of(cls)
        message = f"a norm of inputs of some hundreds is {what} in float16: their squares overflow"
        fix = "take the statistics in float32 and cast back"
        yield Finding(message, "output", *place, fix=fix, severity=None if is_meant else Severity.NOTE)


def _calls(case: Case) -> Iterator[_Call]:
    """The example's inputs, then others; those with a mask last."""
    for name, factor in (("the example", 1.0), ("inputs x 10", 10.0), ("all zeros", 0.0)):
        inputs = case.inputs.map(lambda x, factor=factor: x * factor if x.is_floating_point() else x)
        yield _Call(name, inputs, Severity.WARNING if factor == 1.0 else Severity.NOTE)
    for masking in case.once(maskings) if masks.arguments(case.module) else ():
        for encoding in masking.followed[:1]:
            inputs = masking.masked(masking.asked(case.inputs), encoding, masking.hidden)
            yield _Call(f"the example with {masking.argument}", inputs, is_masked=True)


def _is_ordinary(output: object) -> bool:
    found = [tensor for tensor in tree.tensors(output) if tensor.is_floating_point()]
    return bool(found) and all(bool((tensor.abs() < closeness.FITS_HALF).all()) for tensor in found)


def _start(case: Case, inputs: Inputs) -> steps.Step | None:
    """The first operation that is finite in float32 and not in float16."""
    runs = [
        steps.watched(case.fresh(dtype=dtype).module, inputs.to(dtype), tree.is_finite)
        for dtype in (torch.float32, torch.float16)
    ]
    return next((b for a, b in zip(*runs, strict=False) if b.line and a.noted and not b.noted), None)


def _finding(module: nn.Module, step: steps.Step | None, name: str, severity: Severity) -> Finding:
    place = (step.file, step.line) if step is not None else source.class_line(type(module))
    begins = f"; it starts at {step.operation}()" if step is not None else ""
    message = f"an output is inf or NaN in float16 for {name}, an ordinary number in float32{begins}"
    fix = "compute it in float32 and cast back; choose constants by torch.finfo(x.dtype)"
    return Finding(message, "output", *place, fix=fix, severity=severity)


def _too_large(error: Exception, module: nn.Module, *, is_masked: bool) -> Finding:
    file, line = source.error_line(error, module)
    message = "forward fails in float16, which ends at 65504: " + " ".join(str(error).split())
    severity = Severity.NOTE if is_masked and not reading.file_mentions(file, HALVES) else None
    return Finding(message, "", file, line, "torch.finfo(x.dtype).min for a mask", severity=severity)


@half_overflow.bad("forward fails in float16, which ends at 65504")
class MasksByABillion(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.masked_fill(x < 0, -1e9).softmax(-1)


@half_overflow.bad("Half without overflow", inputs=lambda: torch.randn(2, 7, 6))
class PoolsByAnOptionalMask(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(6, 1)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        scores = self.score(x).squeeze(-1)
        if mask is not None:
            scores = torch.where(mask, scores, torch.full_like(scores, -1e9))
        return (scores.softmax(-1).unsqueeze(-1) * x).sum(1)


@half_overflow.bad("a norm of inputs of some hundreds is 0 in float16", inputs=lambda: torch.randn(4, 16))
class NormsInItsOwnPrecision(nn.Module):
    """Says that its statistics are taken in float32, and takes them in whatever comes."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


@half_overflow.good(inputs=lambda: torch.randn(4, 16))
class NormsInFloat32(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-6)).to(x.dtype)


@half_overflow.good(inputs=lambda: torch.randn(2, 7, 6))
class PoolsByAMaskOfInfinities(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(6, 1)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        scores = self.score(x).squeeze(-1)
        if mask is not None:
            scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        return (scores.softmax(-1).unsqueeze(-1) * x).sum(1)


@half_overflow.bad("in float16 for all zeros")
class NormWithATinyEps(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / (x.norm(dim=-1, keepdim=True) + 1e-8)


@half_overflow.good
class MasksByInfinity(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.masked_fill(x < 0, torch.finfo(x.dtype).min).softmax(-1)


@half_overflow.good
class NormInFloat32(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        return (wide / (wide.norm(dim=-1, keepdim=True) + 1e-8)).to(x.dtype)
