"""Forward must run under `torch.autocast`.

## Why it matters
Mixed precision is how models are trained. Under autocast a product comes out as bfloat16 while parameters and
sums stay float32: code that writes one into the other, or asserts a dtype, fails there and nowhere else.

## How it is tested
Forward is called under `torch.autocast("cpu", dtype=torch.bfloat16)`, in eval mode. An error about dtypes is
reported; as a note where the wider of the two, such as a product with the input, is written into the narrower one.

## How to fix it
Cast where two meet: `buffer[i] = y.to(buffer.dtype)`; make buffers like the result: `y.new_zeros(n)`.

## How to reproduce it
    with torch.autocast("cpu", torch.bfloat16):
        run()
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import source
from layersmith.probe.halves import QuickHalves
from layersmith.probe.promotion import Refused
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

DTYPES = re.compile(
    r"dtype|scalar type|same type|data type|BFloat16|but got Float|but found Float", re.IGNORECASE
)
ABSENT = re.compile(r"not implemented|not supported|unsupported|unsafe to autocast", re.IGNORECASE)


@rule(
    severity=Severity.ERROR,
    since="0.1",
    promise=Promise.LOW_PRECISION,
    after=("forward-raises", "hard-coded-dtype", "upcast-output"),
)
def autocast_fails(case: Case) -> Iterator[Finding]:
    """Call it under autocast."""
    refused = Refused()
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16), QuickHalves(), refused:
            case.run()
    except Exception as error:
        text = " ".join(str(error).split())
        if DTYPES.search(text) and not ABSENT.search(text):
            file, line = source.error_line(error, case.module)
            if not line:
                raise NotApplicable(f"torch's own code fails: {text:.120}") from error
            message = f"forward fails under torch.autocast: {text:.200}"
            severity = Severity.NOTE if _is_wide_into_narrow(refused.operands) else None
            yield Finding(
                message, "", file, line, "cast where two dtypes meet: y.to(other.dtype)", severity=severity
            )


def _is_wide_into_narrow(operands: list[Tensor]) -> bool:
    """Whether what autocast leaves wide, such as a product with the input, is written into what it narrows."""
    dtypes = [one.dtype for one in operands if one.is_floating_point()]
    return dtypes[:1] == [torch.bfloat16] and torch.float32 in dtypes


@autocast_fails.bad("fails under torch.autocast")
class WritesIntoFloat32(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        out = torch.zeros_like(x)
        keep = x[:, 0].isfinite()
        out[keep] = self.linear(x[keep])
        return out


@autocast_fails.bad("fails under torch.autocast")
class ScattersIntoFloat32(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        index = torch.zeros_like(x, dtype=torch.long)
        return torch.zeros_like(x).scatter_add(1, index, self.linear(x))


@autocast_fails.good
class WritesIntoItsOwnDtype(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        return torch.zeros_like(y).scatter_add(1, torch.zeros_like(y, dtype=torch.long), y)
