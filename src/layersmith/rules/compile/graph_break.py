"""torch.compile must capture the module as one graph.

## Why it matters
At every break the compiled graph ends and Python takes over: most of the speed-up is lost, and export
refuses the module. Prints, `.item()`, NumPy and branches on values are the usual causes.

## How it is tested
`torch.compile(module, fullgraph=True)` in eval mode, with a backend that runs what was captured: forward is captured
whole, or the error names the line. Where torch's own layers or packed sequences break, forward takes gradients, or
sizes depend on data (`nonzero`, a boolean index), it is a note. The trace is made once, for all rules about compiling.

## How to fix it
`torch.where` and masks instead of `if x.sum() > 0`; no print, `.item()`, `.tolist()` or NumPy in forward.

## How to reproduce it
    module.eval()
    torch.compile(module, fullgraph=True, backend="eager")(*args, **kwargs)
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.observations import captures
from layersmith.probe import wording
from layersmith.probe.compiler import TORCH, is_in_layer_of_torch, is_torchs, place
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

TORCHS_OWN_LIMIT = "does not support RNN"
SIZES_FROM_DATA = re.compile(
    "output shape depends on input Tensor data|Dynamic shape operator|Size-like symbols: u"
)
# packed sequences, sparse tensors, and gradients taken within forward: what dynamo leaves to Python by its own decision
LEFT_BY_DYNAMO = re.compile(
    r"intentionally marked that the function `\w+` in file `(?P<file>[^`]+)`|`torch\.autograd\.grad`"
    r"|know how to trace the builtin `torch\.|had requires_grad_\(\) called on it"
    r"|changes to a Tensor's `requires_grad` through calling"  # before torch 2.12
)


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.COMPILES)
def graph_break(case: Case) -> Iterator[Finding]:
    """Compile it whole; dynamo's error says what broke and where."""
    error = case.once(captures).refusal
    if TORCHS_OWN_LIMIT in error:
        raise NotApplicable("dynamo does not capture torch's own RNN, GRU and LSTM")
    if error:
        yield _finding(case.module, error)


def _finding(module: nn.Module, text: str) -> Finding:
    cause = wording.first_line(text)
    explanation = re.search(r"Explanation: (.+)", text)
    file, line = place(text, module)
    is_torchs_own = is_torchs(file) or is_in_layer_of_torch(text)
    left = LEFT_BY_DYNAMO.search(text)
    is_left = left is not None and is_torchs(left["file"] or TORCH)
    is_inherent = is_torchs_own or is_left or SIZES_FROM_DATA.search(text) is not None
    return Finding(
        f"torch.compile cannot capture it as one graph: {explanation[1] if explanation else cause}"[:300],
        file=file,
        line=line,
        fix="no prints, .item(), NumPy or branches on values in forward",
        severity=Severity.NOTE if is_inherent else None,
    )


@graph_break.bad("cannot capture it as one graph")
class BranchesOnItsMean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.abs().max() > 0:
            return x * 2
        return x


@graph_break.bad("cannot capture it as one graph")
class PrintsItsShape(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        print("shape", x.shape)
        return x * 2


@graph_break.good
class ChoosesByWhere(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x.mean(-1, keepdim=True) > 0, x * 2, x)
