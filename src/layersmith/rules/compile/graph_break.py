"""torch.compile must capture the module as one graph.

## Why it matters
At every break the compiled graph ends and Python takes over: most of the speed-up is lost, and export
refuses the module. Prints, `.item()`, NumPy and branches on values are the usual causes.

## How it is tested
`torch.compile(module, fullgraph=True, backend="aot_eager")` in eval mode: forward is captured whole or the
error names the line. Modules whose branches depend on data by design fail this truthfully.

## How to fix it
`torch.where` and masks instead of `if x.sum() > 0`; no print, `.item()`, `.tolist()` or NumPy in forward.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import source
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

TORCHS_OWN_LIMIT = "does not support RNN"
TORCH = str(Path(torch.__file__).parent)
FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.COMPILES)
def graph_break(case: Case) -> Iterator[Finding]:
    """Compile it whole; dynamo's error says what broke and where."""
    from torch._dynamo import config, reset  # noqa: PLC0415 - slow, and only here

    logging.getLogger("torch._dynamo").setLevel(logging.CRITICAL)
    try:
        with config.patch(verbose=False):
            compiled = torch.compile(case.module, fullgraph=True, backend="aot_eager")
            Case(case.subject, compiled, case.inputs, case.seed).run()  # type: ignore[arg-type]
    except Exception as error:
        if TORCHS_OWN_LIMIT in str(error):
            raise NotApplicable("dynamo does not capture torch's own RNN, GRU and LSTM") from error
        yield _finding(case.module, error)
    finally:
        reset()


def _finding(module: nn.Module, error: Exception) -> Finding:
    text = str(error)
    cause = next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
    explanation = re.search(r"Explanation: (.+)", text)
    frames = [(match["file"], int(match["line"])) for match in FRAME.finditer(text)]
    classes: set[type] = {type(part) for part in module.modules()}
    files = set(map(source.file_of, classes))
    own = [frame for frame in frames if frame[0] in files and not frame[0].startswith(TORCH)]
    file, line = (own or frames or [source.class_line(type(module))])[-1]
    return Finding(
        f"torch.compile cannot capture it as one graph: {explanation[1] if explanation else cause}"[:300],
        file=file,
        line=line,
        fix="no prints, .item(), NumPy or branches on values in forward",
        severity=Severity.NOTE if file.startswith(TORCH) else None,  # torch's own layers break there
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
