"""Every documented option of the constructor must run.

## Why it matters
The option that its author never tried is the one that you need: `bias=False` crashes since `reset_parameters` fills
`self.bias`, `activation="gelu"` names a class that torch does not have.

## How it is tested
The class is built and called as in the example, with one argument, or one field of a config object that the project
makes, changed: to its default, to the other value of a flag, to what the annotation lists or the source compares it
with or looks it up in (None as well), also in the submodules and functions that it is handed to, a dropout to 0 and
0.5, a number of layers to 1 and 3, a number of heads of keys to half that of the queries, a kernel to another odd size
(with larger images, too), and if that works to 1, which must not leave an output without a number, a dilation to 2, two
dimensions to three, a square to a rectangle, a width that is another's to twice that, a stride to 2 where the source
asks whether widths are equal, and they are, a width to an odd one (only built, and a note, unless the source asks for
that); then two flags or choices at a time. Going backward must not meet what was changed in place. A `raise` or
`assert` that refuses the value is fine; a default of None that is called, and so must be given, is a note; a forward
that returns None, and does not say so, is not. A call that fails passes where another input works with that option,
unless that is of one sample or step, of as many steps as features, or of a length by which sizes happen to broadcast.

## How to fix it
Run the option once, mend the line; or refuse it: `raise ValueError("...")`.

## How to reproduce it
    import copy, inspect
    name, _, field = where.partition(".")
    if name in (parameters := inspect.signature(type(module)).parameters):
        value = copy.copy(parameters[name].default) if field else not parameters[name].default
        if field:
            setattr(value, field, not getattr(value, field))
        changed = type(module)(**{name: value})
        output = changed(*args, **kwargs)
        assert output is not None or "None" in str(inspect.signature(changed.forward)), "forward returns None"
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.load.attempt import Deadline
from layersmith.load.otherwise import NothingReturnedError
from layersmith.load.trials import BUILDING, SLIPS, Failed, Trials
from layersmith.load.values import written
from layersmith.probe import options, parameters, refusal, source, wording
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case, Construction

SECONDS = 5.0  # of CPU for all options of one class, and for the calls that are looked for
PAIRS = 0.6  # of it, after which no two options are tried


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.EVERY_ARGUMENT_MATTERS)
def argument_crashes(case: Case) -> Iterator[Finding]:
    """Change one argument at a time; one finding a line that fails."""
    construction = case.subject.construction
    if construction is None:
        raise NotApplicable("how it was constructed is not known")
    trials = Trials(case, construction, Deadline.after(SECONDS))
    lines: dict[tuple[str, int], list[Finding]] = {}
    for failed in trials.failures(pairs=Deadline.after(SECONDS * PAIRS)):
        found = _finding(construction, failed)
        lines.setdefault((found.file, found.line), []).append(found)
    for first, *others in lines.values():
        too = [one.message.partition(" (")[0] for one in others if one.where == first.where]
        yield replace(first, message=f"{first.message}; so does {', '.join(too)}") if too else first


def _finding(construction: Construction, failed: Failed) -> Finding:
    cls, error, first = construction.cls, failed.error, failed.options[0]
    is_alone = len(failed.options) == 1
    is_certain = is_alone and (failed.where == BUILDING or isinstance(error, SLIPS))
    is_note = options.is_idle(first, cls) or (first.value is None and "object is not callable" in str(error))
    severity = Severity.NOTE if is_note else None if is_certain else Severity.WARNING
    file = parameters.file(cls)
    given = ", ".join(f"{n}={written(v)}" for one in failed.options for n, v in one.changes.items())
    did = str(error) if isinstance(error, NothingReturnedError) else f"raised {wording.short(error)}"
    return Finding(
        f"{cls.__name__}({given}) ({first.why if is_alone else 'which work alone'}): {failed.where} {did}",
        where=first.name,
        file=file,
        line=refusal.line_of(error, file) or source.class_line(cls)[1],
        fix=f"mend what {given} runs into, or refuse that value by raise ValueError(...)",
        severity=severity,
    )


@argument_crashes.bad("NoBias(bias=False) (a flag): the constructor raised AttributeError")
class NoBias(nn.Module):
    def __init__(self, width: int = 6, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, width))
        self.bias = nn.Parameter(torch.empty(width)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.xavier_uniform_(self.weight)
        self.bias.data.zero_()  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight, self.bias)


@argument_crashes.bad("mat1 and mat2 shapes cannot be multiplied")
class BothDirections(nn.Module):
    def __init__(self, width: int = 6, *, bidirectional: bool = False) -> None:
        super().__init__()
        self.gru = nn.GRU(width, width, batch_first=True, bidirectional=bidirectional)
        self.head = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.gru(x[:, None])[0][:, -1])


@argument_crashes.bad(
    "PoolsByName(mode='score') (compared in the source)", inputs=lambda: torch.randn(4, 5, 6)
)
class PoolsByName(nn.Module):
    """A single step would broadcast."""

    def __init__(self, width: int = 6, mode: str = "mean") -> None:
        super().__init__()
        if mode not in ("mean", "score"):
            raise ValueError(f"mode must be mean or score, not {mode!r}")
        self.score = nn.Linear(width, 1) if mode == "score" else None

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1) if self.score is None else (self.score(x).softmax(1) @ x).sum(1)


@argument_crashes.bad(
    "PadsOddWidths(dim=7) (an odd size, which the source treats)", inputs=lambda: torch.rand(4)
)
class PadsOddWidths(nn.Module):
    def __init__(self, dim: int = 6) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, t: Tensor) -> Tensor:
        waves = (t[:, None] * torch.arange(1, self.dim // 2 + 1).to(t)).sin()
        both = torch.cat([waves, waves * waves], dim=1)
        return torch.cat([both, both[:1]], dim=1) if self.dim % 2 else both


@argument_crashes.bad("NoHiddenLayer(ratio=None) (which the source asks for): the constructor raised")
class NoHiddenLayer(nn.Module):
    def __init__(self, width: int = 6, ratio: int | None = 2) -> None:
        super().__init__()
        hidden = None if ratio is None else width * ratio
        self.before = nn.Linear(width, hidden) if hidden else nn.Identity()
        self.head = nn.Linear(hidden, 2)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.before(x).relu())


@argument_crashes.bad("(a kernel): forward raised RuntimeError", inputs=lambda: torch.randn(2, 4, 9, 11))
class PadsForAnotherKernel(nn.Module):
    def __init__(self, width: int = 4, kernel_size: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=kernel_size // 2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x)


@argument_crashes.bad(
    "SquaresOnly(size=(4, 8)) (a rectangle): forward raised", inputs=lambda: torch.randn(2, 3, 4, 4)
)
class SquaresOnly(nn.Module):
    def __init__(self, width: int = 3, size: tuple[int, int] = (4, 4)) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width, size[0], size[0]))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain


@argument_crashes.bad(
    "NormsBeforeItsGate(gated=True, normed=True) (which work alone): forward raised RuntimeError"
)
class NormsBeforeItsGate(nn.Module):
    """Two options, of which each works without the other."""

    def __init__(self, width: int = 6, *, gated: bool = False, normed: bool = False) -> None:
        super().__init__()
        self.gated = gated
        self.linear = nn.Linear(width, 2 * width if gated else width)
        self.norm = nn.LayerNorm(width) if normed else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.linear(x))
        return nn.functional.glu(y) if self.gated else y


@argument_crashes.bad(
    "AddsInPlace(residual=True, out_chs=6) (a flag): backward raised RuntimeError: one of the variables"
)
class AddsInPlace(nn.Module):
    """A shortcut, between equal widths only, changes what the gradient needs."""

    def __init__(self, in_chs: int = 6, out_chs: int = 4, *, residual: bool = False) -> None:
        super().__init__()
        self.linear, self.residual = nn.Linear(in_chs, out_chs), residual

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x).sigmoid()
        if self.residual:
            y += x
        return y


@argument_crashes.good(inputs=lambda: torch.randn(2, 6, 9))
class PadsForItsDilation(nn.Module):
    """Another dilation, and a norm on the axis that it is made for."""

    def __init__(self, width: int = 6, dilation: int = 1, norm: str = "batch") -> None:
        super().__init__()
        assert norm in ("batch", "layer")
        self.conv = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.is_last = norm == "layer"
        self.norm = nn.LayerNorm(width) if self.is_last else nn.BatchNorm1d(width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return x + (self.norm(y.mT).mT if self.is_last else self.norm(y))


@argument_crashes.good(inputs=lambda: torch.randn(2, 4, 9, 11))
class PadsForItsKernel(nn.Module):
    """Another kernel, none, and planes that are no squares."""

    def __init__(self, width: int = 4, kernel_size: int | None = 3, size: tuple[int, int] = (9, 9)) -> None:
        super().__init__()
        kernel = 1 if kernel_size is None else kernel_size
        self.conv = nn.Conv2d(width, width, kernel, padding=kernel // 2)
        self.gain = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) * self.gain.mean()


@argument_crashes.bad("ForgetsToReturn(with_input=True) (a flag): forward returned None")
class ForgetsToReturn(nn.Module):
    def __init__(self, *, with_input: bool = False) -> None:
        super().__init__()
        self.with_input = with_input

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[return]  # noqa: RET503 - that is the bug
        if not self.with_input:
            return x.relu()
        torch.cat([x, x.relu()], -1)


@argument_crashes.good
class MayReturnNothing(ForgetsToReturn):
    def forward(self, x: Tensor) -> Tensor | None:  # type: ignore[override]
        return super().forward(x)


@argument_crashes.good
class EveryOptionRuns(nn.Module):
    """A flag that needs another argument, one that wants another input, and an option that is refused."""

    def __init__(
        self,
        width: int = 6,
        context: int | None = None,
        *,
        cross: bool = False,
        images: bool = False,
        mode: str = "a",
    ) -> None:
        super().__init__()
        if mode not in ("a", "b"):
            raise ValueError(f"mode must be a or b, not {mode!r}")
        if mode == "b":
            raise NotImplementedError("mode b comes with the next release")
        self.linear = nn.Conv2d(width, width, 1) if images else nn.Linear(width, width)
        self.context = nn.Linear(context, width) if cross else None  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        return y if self.context is None else y + self.context(x)


@argument_crashes.good(inputs=lambda: torch.randn(2, 3, 4, 4))
class NeedsAsMuchAsItsKernel(nn.Module):
    """A map of 4 x 4 has no room for a kernel of 5: that says nothing of the option."""

    def __init__(self, width: int = 3, kernel_size: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).mean((2, 3))
