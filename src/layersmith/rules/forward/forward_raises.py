"""The module must accept its own example inputs.

## Why it matters
Nothing else can be said of a module that cannot be called. Every other rule runs the module, so when this
one fails they are skipped: one cause, one finding.

## How it is tested
`forward` is called on the example inputs, in eval mode and in train mode. It must not raise, nor return None. A
failure in train mode alone is a warning: some modules want targets there that the example may not have. What is not
installed, wants another device, or refuses these inputs in train mode by a statement of its own is a note.

## How to fix it
Read the error and the line. If the example inputs are wrong rather than the module, say how it is called:
with `--inputs`, or with an `example` classmethod on the class.

## How to reproduce it
    for training in (False, True):
        output = module.train(training)(*args, **kwargs)
        assert output is not None, "forward returned None"
"""

from __future__ import annotations

import inspect
import re
import traceback
from collections.abc import Iterator

from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.load.failure import misses_one
from layersmith.load.unbuildable import Unbuilt
from layersmith.probe import source
from layersmith.probe.refusal import failing_text, is_optional, is_refusal, takes_apart
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

NOT_HERE = re.compile(
    r"not support .*\bon CPU\b|only supported on (?:CUDA|GPU)|use another device|not compiled with CUDA",
    re.IGNORECASE,
)
# What an input raises that is too short for a part of it to be drawn.
TOO_SHORT = re.compile(
    r"expects 'from' to be less than 'to'|empty range|larger than population|inconsistent with step sign"
)


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.CALLABLE, after=())
def forward_raises(case: Case) -> Iterator[Finding]:
    """Call it in both modes; the first error is the finding."""
    for training in (False, True):
        attempt = case.fresh(training=training)
        try:
            output = attempt.run()
        except Exception as error:  # noqa: BLE001 - whatever forward raises is the finding
            yield _finding(error, attempt, training=training)
            return
        if output is None:
            yield _returns_none(attempt.module, training=training)
            return


def _finding(error: Exception, attempt: Case, *, training: bool) -> Finding:
    is_built = not isinstance(attempt.module, Unbuilt)
    file, line = source.error_line(error, attempt.module if is_built else nn.Identity())
    text = (
        " ".join(str(error).split())
        or f"in {[*traceback.walk_tb(error.__traceback__)][-1][0].f_code.co_name}()"
    )
    where = f"in {'train' if training else 'eval'} mode" if is_built else "whatever was tried"
    what = "forward" if is_built else "the constructor"
    how = "is called: --inputs, or" if is_built else "is built:"
    return Finding(
        f"{what} raised {type(error).__name__} {where}: {text:.300}",
        file=file,
        line=line,
        fix=f"mend {what}, or show how it {how} an example() classmethod",
        severity=_severity(error, attempt, training=training),
    )


def _severity(error: Exception, attempt: Case, *, training: bool) -> Severity | None:
    if isinstance(error, ImportError) or NOT_HERE.search(str(error)) or is_optional(error):
        return Severity.NOTE  # what is not installed here, or wants another device
    if training and (is_refusal(error) or (attempt.subject.inferred_from and TOO_SHORT.search(str(error)))):
        return Severity.NOTE  # train mode asks for other inputs, and says so
    if training and source.is_machinery(traceback.extract_tb(error.__traceback__)[-1].filename):
        return Severity.NOTE  # what stands in for settings, of which inference knew too little
    is_guess = training and bool(attempt.subject.inferred_from)
    if is_guess and (takes_apart(error, type(attempt.module)) or _misses_something(error, attempt)):
        return Severity.NOTE  # as above: `images, boxes = inputs`, `forward(x, target=None)`
    return Severity.WARNING if training else None


def _misses_something(error: Exception, attempt: Case) -> bool:
    """Whether it is about None, at which inference left an argument: one of forward, or that `DropPath()` keeps."""
    if misses_one(error, attempt.module, attempt.inputs):
        return True
    construction = attempt.subject.construction
    if "NoneType" not in str(error) or construction is None:
        return False
    taken = inspect.signature(construction.cls).parameters.items()
    unset = [n for n, one in taken if one.default is None and construction.arguments.get(n) is None]
    kept = [name for name in unset if name in vars(attempt.module) and vars(attempt.module)[name] is None]
    return any(re.search(rf"\b{name}\b", failing_text(error)) for name in kept)


def _returns_none(module: nn.Module, *, training: bool) -> Finding:
    cls: type = type(module)
    node = source.function_node(getattr(cls, "forward", None))
    return Finding(
        f"forward returned None in {'train' if training else 'eval'} mode",
        file=source.file_of(cls),
        line=node.lineno if node is not None else 0,
        fix="end forward with a return, on every path",
    )


@forward_raises.bad("returned None in eval mode")
class ForgetsToReturn(nn.Module):
    def forward(self, x: Tensor) -> None:
        x.relu()


@forward_raises.bad("mat1 and mat2")
class WrongWidth(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


@forward_raises.bad("train mode: dropout probability")
class ForgetsTraining(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, 5.0) if self.training else x


@forward_raises.good
class RightWidth(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).relu()
