"""A module in half precision must answer in half precision.

## Why it matters
One float32 tensor made in forward (`torch.arange(n) / n`, `torch.ones(n)`) promotes everything it meets: from
there on the model runs in float32, twice as slow and large, or fails in the next layer, whose weights are
bfloat16.

## How it is tested
Module and inputs are moved to bfloat16. An output that is float32 because an operation met the signal and a
float32 tensor made elsewhere is reported, with the line of that operation; and so is a forward that fails
behind one, or behind a cast (`x.float()`) whose result comes to bfloat16 weights. An output that is cast up on
purpose (`logits.float()`, `softmax(dtype=torch.float32)`) passes, but not that of a class that is called a norm, or
whose documentation promises the input's dtype: the next layer's weights are bfloat16. Reported as well is a parameter or
buffer that came as float64, as NumPy counts, and makes float64 of float32.

## How to fix it
Make constants like the signal: `torch.ones(n, device=x.device, dtype=x.dtype)`, or cast them: `table.to(x.dtype)`,
as what is computed of positions; end what is computed in float32 with `.to(x.dtype)`.

## How to reproduce it
    module.eval().bfloat16()
    output = run(*(x.bfloat16() if x.is_floating_point() else x for x in args))
    assert output.dtype == torch.bfloat16, f"bfloat16 goes in, {output.dtype} comes out"
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import promotion, reading, source, tree
from layersmith.probe.halves import QuickHalves
from layersmith.probe.surroundings import preserved
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

MEANT = r"\b(?:promote_types|result_type)\("  # who asks what two dtypes become, means it
NORM = re.compile(r"norm(?!al|_?(?:32|fp32|float32))", re.IGNORECASE)
SAME_DTYPE = re.compile(
    r"(?:input'?s?'? dtype|dtype of (?:the |its )?input|same dtype as|dtype as the input)"
)


@rule(
    severity=Severity.WARNING,
    since="0.1",
    promise=Promise.LOW_PRECISION,
    after=("forward-raises", "unregistered-buffer", "unregistered-parameter", "hard-coded-dtype"),
)
def upcast_output(case: Case) -> Iterator[Finding]:
    """Run it in bfloat16 and see whether a promotion reaches an output."""
    signals = [tensor for tensor in case.inputs.tensors() if tensor.is_floating_point()]
    if not signals:
        raise NotApplicable("no floating input")
    if not [*case.module.parameters()] and all(one.ndim <= 1 for one in signals):
        raise NotApplicable("it has no weights, and its input is a number a row, such as a time")
    if (double := _among_floats(case)) is not None:
        yield double
        return
    low = case.fresh(dtype=torch.bfloat16)
    held = low.inputs.clone()
    watch = promotion.Promotions(tensor for tensor in held.tensors() if tensor.is_floating_point())
    refused = promotion.Refused()
    try:
        with preserved(seed=case.seed), torch.no_grad(), QuickHalves(), watch, refused:
            output = low.module(*held.args, **held.kwargs)
    except Exception as error:
        found = _behind(watch, refused.operands, f"and forward fails: {' '.join(str(error).split()):.120}")
        if found is None or "not implemented for" in str(error):
            raise NotApplicable(f"it does not run in bfloat16: {error!s:.100}") from error
        yield found
        return
    wide = [path for path, tensor in tree.named_tensors(output, name="output") if watch.is_wide(tensor)]
    if (cast := _left_wide(case, watch, output)) is not None:
        yield _by_cast(cast, "and so the output is float32")
        return
    is_meant = not wide or reading.says(case.module, MEANT)
    if watch.seen and not is_meant and not source.is_machinery(watch.seen[0].file):
        yield _finding(watch.seen[0], f"{', '.join(wide[:3])} of a bfloat16 module is float32")


def _among_floats(case: Case) -> Finding | None:
    """A parameter or buffer that came as float64, as NumPy counts, with which float32 comes out as float64."""
    held = {**dict(case.module.named_parameters()), **dict(case.module.named_buffers())}
    doubles = [name for name, tensor in held.items() if tensor.dtype is torch.float64]
    is_single = all(one.dtype is torch.float32 for one in case.inputs.tensors() if one.is_floating_point())
    if not doubles or len(doubles) == len(held) or not is_single:
        return None
    outputs = [
        path for path, one in tree.named_tensors(case.run(), name="output") if one.dtype is torch.float64
    ]
    if not outputs:
        return None
    what = f"{doubles[0]} is float64, and {len(held) - len(doubles)} others are not: {outputs[0]} of float32 is float64"
    place = source.parameter_line(case.module, doubles[0])
    return Finding(what, doubles[0], *place, fix=f"make {doubles[0]} of float32: .float()")


def _behind(watch: promotion.Promotions, operands: list[Tensor], what: str) -> Finding | None:
    """What an operation that failed blames: a promotion before it, or a cast that left it float32 beside halves."""
    if watch.seen:
        return _finding(watch.seen[0], what)
    cast = watch.left_by_a_cast(operands)
    return None if cast is None or source.is_machinery(cast.file) else _by_cast(cast, what)


def _left_wide(case: Case, watch: promotion.Promotions, output: object) -> promotion.Promotion | None:
    """The cast behind the only output, which is shaped as the input, of a class that is to keep its input's dtype."""
    cls: type = type(case.module)
    shapes = [tensor.shape for tensor in case.inputs.tensors()]
    outputs = [*tree.tensors(output)]
    keeps = NORM.search(cls.__name__) or SAME_DTYPE.search(cls.__doc__ or "")
    if not keeps or len(outputs) != 1 or outputs[0].shape not in shapes:
        return None
    cast = watch.cast_of(outputs)
    return None if cast is None or source.is_machinery(cast.file) else cast


def _by_cast(cast: promotion.Promotion, what: str) -> Finding:
    return Finding(
        f"in a bfloat16 module what is cast to float32 here stays float32, {what}",
        file=cast.file,
        line=cast.line,
        fix="cast back what was computed from it: .to(x.dtype)",
    )


def _finding(first: promotion.Promotion, what: str) -> Finding:
    return Finding(
        f"{first.operation}() meets a float32 tensor: {what}",
        file=first.file,
        line=first.line,
        fix="make constants with dtype=x.dtype, or cast them: table.to(x.dtype)",
    )


@upcast_output.bad("output of a bfloat16 module is float32")
class WeighsByAWindow(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.hamming_window(x.shape[-1], device=x.device)


@upcast_output.bad("and forward fails")
class CountsInFloat32(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        positions = torch.arange(6, device=x.device) / 6
        return self.linear(x + positions)


class _NormInFloat32(nn.Module):
    def __init__(self, is_cast_back: bool) -> None:
        super().__init__()
        self.is_cast_back = is_cast_back

    def forward(self, x: Tensor) -> Tensor:
        wide = nn.functional.layer_norm(x.float(), x.shape[-1:])
        return wide.to(x.dtype) if self.is_cast_back else wide


@upcast_output.bad("is cast to float32 here stays float32, and forward fails")
class GatesANormThatStaysWide(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.linear = _NormInFloat32(is_cast_back=False), nn.Linear(6, 6)
        self.gate = nn.Parameter(torch.ones(6))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.linear(self.norm(x) * self.gate)


@upcast_output.bad("stays float32, and so the output is float32")
class RootMeanSquareNorm(nn.Module):
    """The statistics are taken in float32 at least; the output has the dtype of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(6))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        return wide * wide.square().mean(-1, keepdim=True).add(1e-6).rsqrt() * self.weight


@upcast_output.bad("freqs is float64, and 2 others are not: output of float32 is float64")
class CountsLikeNumPy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.freqs = nn.Parameter(torch.logspace(0, -2, 6, dtype=torch.float64))
        self.trend = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.trend(x), torch.cos(x * self.freqs)], dim=-1)


@upcast_output.good
class GatesANormCastBack(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.linear = _NormInFloat32(is_cast_back=True), nn.Linear(6, 6)
        self.gate = nn.Parameter(torch.ones(6))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.linear(self.norm(x) * self.gate)


@upcast_output.good
class StaysWideAtTheEnd(nn.Module):
    """What is last may answer in float32."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.linear = _NormInFloat32(is_cast_back=False), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.linear(x))


@upcast_output.good
class CastsUpAndBack(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        window = torch.hamming_window(x.shape[-1], device=x.device)
        return (x.float() * window).to(x.dtype)


@upcast_output.good
class AnswersInFloat32OnPurpose(nn.Module):
    """As a loss, or a head whose logits are wanted in float32."""

    def forward(self, x: Tensor) -> Tensor:
        return x.float().log_softmax(-1)


@upcast_output.good
class PlacesInFloat32(nn.Module):
    """Coordinates, of which bfloat16 holds no odd one above 256: the code says so."""

    def forward(self, x: Tensor) -> Tensor:
        wide = torch.promote_types(x.dtype, torch.float32)
        return x + torch.arange(x.shape[-1], device=x.device).to(wide)


@upcast_output.good(inputs=lambda: torch.rand(5))
class EncodesTimes(nn.Module):
    """It has nothing to move to bfloat16, and a time is no signal."""

    def forward(self, t: Tensor) -> Tensor:
        rates = torch.exp(-torch.arange(8, device=t.device))
        return (t[:, None] * rates).sin()
