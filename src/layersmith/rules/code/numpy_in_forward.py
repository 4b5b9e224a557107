"""Forward must compute with torch, not with NumPy.

## Why it matters
`x.detach().cpu().numpy()` leaves autograd and the accelerator: what NumPy computes has no gradient, every call copies to
the CPU and back, and a compiler must break its graph there.

## How it is tested
The module is called in train mode. Conversions of floating tensors to NumPy arrays are reported with their lines, those
under `no_grad` excepted. NumPy on sizes and constants is no such case.

## How to fix it
Use the torch function of the same name. For what only NumPy or SciPy has, and no gradient is needed: `torch.no_grad()`.

## How to reproduce it
    names = type(module).forward.__code__.co_names
    assert "numpy" not in names and "from_numpy" not in names, "forward leaves torch"
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.observations import departures
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case


@rule(severity=Severity.NOTE, since="0.1", promise=Promise.PLAIN_CODE)
def numpy_in_forward(case: Case) -> Iterator[Finding]:
    """One finding a line."""
    seen = case.once(departures)
    for file, line in seen.lines("numpy"):
        yield Finding(
            "a tensor becomes a NumPy array: no gradient, no accelerator, no compiler beyond this line",
            file=file,
            line=line,
            fix="use the torch function of the same name; or torch.no_grad() around it",
        )


@numpy_in_forward.bad("a tensor becomes a NumPy array")
class TanhByNumpy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.from_numpy(np.tanh(x.detach().cpu().numpy()))
        return self.linear(x) * gate


@numpy_in_forward.bad("a tensor becomes a NumPy array")
class MeanByNumpy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        return y - torch.as_tensor(np.asarray(y.detach()).mean(0))


@numpy_in_forward.good
class NumpyOnSizes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) / float(np.sqrt(x.shape[-1]))
