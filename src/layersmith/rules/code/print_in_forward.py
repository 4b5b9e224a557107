"""Forward must not print.

## Why it matters
A `print` left from debugging waits for the accelerator at every step when it shows a tensor, floods the logs of every
worker, and breaks the compiler's graph.

## How it is tested
The module is called in both modes and what it writes to standard output is caught. If there is any, the `print` calls in
the methods of its classes are reported with their lines. One behind a flag that is off prints nothing, and passes.

## How to fix it
Delete it, or use `logging` at debug level.

## How to reproduce it
    import contextlib, io
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        run()
    assert not printed.getvalue(), f"forward prints {printed.getvalue()!r}"
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator

from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import code
from layersmith.probe.modes import in_mode
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case


@rule(severity=Severity.NOTE, since="0.1", promise=Promise.PLAIN_CODE)
def print_in_forward(case: Case) -> Iterator[Finding]:
    """Catch the output, then find the line."""
    written = io.StringIO()
    with contextlib.redirect_stdout(written):
        case.run()
        in_mode(case.module, training=True)
        case.run()
    if not written.getvalue().strip():
        return
    for file, line in code.calls_of(case.module, "print"):
        yield Finding("forward prints at every call", file=file, line=line, fix="delete the print")


@print_in_forward.bad("forward prints at every call")
class PrintsItsShape(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        print("x", x.shape)
        return self.linear(x)


@print_in_forward.bad("forward prints at every call")
class PrintsInAHelper(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def _scaled(self, x: Tensor) -> Tensor:
        print(x.mean())
        return x / 2

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self._scaled(x))


@print_in_forward.good
class PrintsWhenAsked(nn.Module):
    def __init__(self, *, debug: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.debug = debug

    def forward(self, x: Tensor) -> Tensor:
        if self.debug:
            print(x.shape)
        return self.linear(x)
