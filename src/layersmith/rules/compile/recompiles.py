"""torch.compile must not compile the module anew for every call, nor for every batch size.

## Why it matters
What was compiled holds for the numbers that forward read from Python: a counter, a list's length, a schedule kept as
an int. When they change with every call, each call costs a compilation, and after eight dynamo gives up and runs the
module uncompiled. A batch size that Python code depends on does the same at the last batch of an epoch.

## How it is tested
Eight calls with the same inputs in eval mode, and the compilations are counted; eight calls in train mode, where forward
asks `self.training` and a call changes what the module holds; and, where no exported program holds for any batch
size, calls with one, two and three rows more, if eager mode takes them. Compiling once more after the first call,
and once more for a changed size, is how dynamo works; compiling every time is reported with the condition that
failed. It is a note where that is the length of a list or dict, which may be a log with a bound.

## How to fix it
Keep what changes in a buffer (`self.step += 1` on a tensor) or pass it to forward; no Python loop over the rows of a
batch, no dict by batch size.

## How to reproduce it
    import torch._dynamo
    module.eval().compile(backend="eager")
    with torch._dynamo.config.patch(error_on_recompile=True):
        for _ in range(4):
            run()
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.observations import captures, exports
from layersmith.probe import contents, reading, source
from layersmith.probe.capture import CALLS, resized
from layersmith.probe.compiler import Place, captured, compiler, is_torchs, place
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

ATTRIBUTE = re.compile(r"\bself\.(\w+)")
CONDITION = re.compile(r"- \d+/\d+: (?P<condition>.+?)(?:\s{2,}#|$)", re.MULTILINE)


@rule(
    severity=Severity.WARNING, since="0.1", promise=Promise.COMPILES, after=("forward-raises", "graph-break")
)
def recompiles(case: Case) -> Iterator[Finding]:
    """Count what is compiled: by the same call again, then by other sizes."""
    found = case.once(captures)
    if found.is_always_compiled:
        yield _every_call(case)
        return
    if found.trouble:
        raise NotApplicable("dynamo does not capture it again")
    export = case.once(exports)
    if export.axis is not None and not export.holds_for_any_size:
        try:
            sizes = resized(
                lambda: case.fresh().module,
                case.inputs,
                export.axis,
                seed=case.seed,
                has_gradients=found.has_gradients,
            )
        except Exception as error:
            raise NotApplicable("dynamo does not capture it for other sizes") from error
        if sizes.is_always_compiled:
            yield _every_size(case, sizes.fixing)
            return
    if reading.mentions(case.module, r"self\.training") and _is_compiled_always_in_training(case):
        yield _every_call(case, training=True)


def _is_compiled_always_in_training(case: Case) -> bool:
    """Whether each call in train mode is compiled; asked only if a call changes what the module holds."""
    used, training = case.fresh(training=True), case.fresh(training=True)
    used.run()
    if next(contents.differing(used.module, training.module), None) is None:
        return False
    with compiler() as backend:
        compiled = Case(case.subject, captured(training.module, backend), case.inputs, case.seed)
        for number in range(1, CALLS + 1):
            try:
                compiled.run()
            except Exception as error:
                raise NotApplicable("dynamo does not capture it in train mode") from error
            if backend.graphs < number:
                return False
    return True


def _every_call(case: Case, *, training: bool = False) -> Finding:
    module = case.fresh(training=training).module
    with compiler(error_on_recompile=True) as backend:
        again = Case(case.subject, captured(module, backend), case.inputs, case.seed)
        try:
            for _ in range(CALLS):
                again.run()
            text, (file, line) = "", source.class_line(type(module))
        except Exception as error:  # noqa: BLE001 - dynamo's own, which says what has changed
            text, (file, line) = str(error), place(str(error), module)
    reason = CONDITION.search(text)
    held = {
        name: getattr(module, name, None) for name in ATTRIBUTE.findall(reason["condition"] if reason else "")
    }
    is_kept_aside = any(isinstance(value, list | deque | dict | set) for value in held.values())
    because = f", as {reason['condition']!r} held for the last one only" if reason else ""
    return Finding(
        f"the same call was compiled {CALLS} times in {CALLS} calls{' in train mode' if training else ''}{because}",
        file=file,
        line=line,
        fix="keep what changes from call to call in a buffer, as a tensor, or take it as an argument",
        numbers={"compilations": CALLS, "limit": 2},
        severity=Severity.NOTE if is_torchs(file) or is_kept_aside else None,
    )


def _every_size(case: Case, seen: tuple[Place, ...]) -> Finding:
    file, line = seen[-1] if seen else source.class_line(type(case.module))
    return Finding(
        "it is compiled anew for each batch size: three sizes, three times more",
        file=file,
        line=line,
        fix="no Python loop over the rows, no int() of the batch size, no dict by batch size",
        numbers={"compilations": 3, "limit": 1},
        severity=None if seen else Severity.NOTE,
    )


@recompiles.bad("the same call was compiled 8 times")
class CountsItsCalls(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.step = 0

    def forward(self, x: Tensor) -> Tensor:
        self.step += 1
        return x * (2 if self.step < 100 else 1)  # noqa: PLR2004 - a schedule


@recompiles.bad("compiled anew for each batch size")
class LoopsOverRows(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x[row] * 2 for row in range(x.shape[0])])


@recompiles.bad("compiled 8 times in 8 calls in train mode")
class WarmsUp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.step = 0

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        self.step += 1
        return x * min(1.0, self.step / 100)


@recompiles.good
class CountsInABuffer(nn.Module):
    steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.steps += 1
        return x * 2


@recompiles.good
class RemembersAFew(nn.Module):
    """Compiled for none, one, two and three remembered, and for no more."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: deque[Tensor] = deque(maxlen=3)

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach().mean())
        return x * 2


@recompiles.good
class CutsLargeBatches(nn.Module):
    """Asks for the batch size, and compiles once for all small ones."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] > 64:  # noqa: PLR2004 - rows at a time
            return torch.cat([self.linear(part) for part in x.split(64)])
        return self.linear(x)
