"""A mask that forward takes for one row, it must take for several.

## Why it matters
`mask[:, None, :] * mask[:, :, None]` is (batch, steps, steps); beside scores of (batch, heads, steps, steps) it fits
while the batch is one. The test had one row, the first training batch crashes; or, with as many rows as heads, each head
gets the mask of another row.

## How it is tested
An optional argument that is a mask by its name is given for a batch of one and of three rows, in all usual shapes, as
bool and as float, of as many steps as the input and of one less. Reported is one that is taken for one row in some
shape, and for three in none, also not by pairs of steps or by heads, since sizes do not fit. A refusal of the module
itself passes.

## How to fix it
Give it the axes that it lacks: `mask[:, None, None, :]`.

## How to reproduce it
    three, steps, failed = args[0].repeat(3, *[1] * (args[0].dim() - 1))[:3], args[0].shape[1], []
    for count in (steps, steps - 1):
        mask = {where: torch.ones(3, count, dtype=torch.bool)} if where else {}
        try:
            module(three, *args[1:], **kwargs, **mask)
        except Exception as error:
            failed.append(error)
    assert len(failed) < 2, failed
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import masks, sequence, source
from layersmith.probe.inputs import Inputs
from layersmith.probe.masking import of_rows, with_argument
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

SHAPES = ("bt", "b1t", "b11t", "btt", "b1tt", "bt1", "tt", "ktt", "ltt", "bktt", "1ktt")
MISFITS = (
    "must match the size of tensor",
    "must match the existing size",
    "cannot be broadcast",
    "not broadcastable",
)
ROWS = (3, 5, 7)
MOST = 64  # heads


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.OBEYS_MASKS)
def mask_of_one_row(case: Case) -> Iterator[Finding]:
    """Ask for one row first; then for more, in every shape."""
    open_ = masks.without(case.module, case.inputs)
    named = [name for name in masks.arguments(case.module) if masks.KEYS.match(name.lower())]
    named = [name for name in named if masks.given(case.module, open_, name) is None]
    laid = sequence.layout(case.module, open_, case.run_fresh, assumed=1) if named else None
    if laid is None:
        raise NotApplicable(
            "forward takes no mask that a call may leave out, or which axis is time is not known"
        )
    sizes = _numbers(case.module)
    rows = next((n for n in ROWS if n not in sizes and n != laid.steps), 0)
    for name in named if rows else ():
        one, several = (of_rows(open_, laid, count) for count in (1, rows))
        calls = _calls(case, one, name, 1, laid.steps, set())
        fits = next((said for said, call in calls if said[0] == "b" and case.error(call) is None), None)
        if fits is None:
            continue
        errors = {}
        for said, call in _calls(case, several, name, rows, laid.steps, sizes):
            if (error := case.error(call)) is None:
                break
            errors[said] = error
        else:
            if any(text in str(errors[fits]) for text in MISFITS):
                yield _finding(case.module, name, rows, errors[fits])


def _calls(
    case: Case, inputs: Inputs, name: str, rows: int, steps: int, numbers: set[int]
) -> Iterator[tuple[str, Inputs]]:
    """The call with a mask that hides nothing, by its shape in letters, its steps and its dtype."""
    parameters = tuple(inspect.signature(case.module.forward).parameters)
    for letters in SHAPES:
        for heads in sorted(numbers) if set(letters) & {"k", "l"} else [1]:
            for count in (steps, steps - 1):
                sizes = {"b": rows, "t": count, "1": 1, "k": heads, "l": rows * heads}
                for dtype in (torch.bool, torch.float32):
                    mask = torch.ones([sizes[one] for one in letters], dtype=dtype)
                    yield f"{letters} {heads} {count} {dtype}", with_argument(parameters, inputs, name, mask)


def _numbers(module: nn.Module) -> set[int]:
    """Whole numbers that the module's parts hold: heads may be among them."""
    held = (value for part in nn.Module.modules(module) for value in vars(part).values())
    return {value for value in held if type(value) is int and 1 < value <= MOST}


def _finding(module: nn.Module, name: str, rows: int, error: Exception) -> Finding:
    text = " ".join(str(error).split())
    return Finding(
        f"with {name} forward works for one row, and for {rows} with a mask of no shape: {text:.160}",
        name,
        *source.error_line(error, module),
        fix=f"give {name} the axis of the heads: {name}[:, None]",
    )


class Attends(nn.Module):
    """Two heads."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.heads, self.qkv = 2, nn.Linear(width, 3 * width)

    def hidden(self, mask: Tensor) -> Tensor:
        return ~(mask[:, None, None, :] * mask[:, None, :, None])

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        scores = q @ k.mT / 3**0.5
        if mask is not None:
            scores = scores.masked_fill(self.hidden(mask.bool()), torch.finfo(scores.dtype).min)
        return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)


def _sequence() -> Tensor:
    return torch.randn(4, 7, 6)


@mask_of_one_row.bad("with mask forward works for one row, and for 3", inputs=_sequence)
class ForgetsItsHeads(Attends):
    def hidden(self, mask: Tensor) -> Tensor:
        mask = mask.flatten(1)
        return ~(mask[:, None, :] * mask[:, :, None])


@mask_of_one_row.bad("with mask forward works for one row, and for 3", inputs=_sequence)
class MasksKeysWithoutHeads(Attends):
    def hidden(self, mask: Tensor) -> Tensor:
        assert mask.ndim == 2, "(batch, steps)"  # noqa: PLR2004
        return ~mask[:, None, :]


@mask_of_one_row.good(inputs=_sequence)
class MasksEachRow(Attends):
    pass


@mask_of_one_row.good(inputs=_sequence)
class MasksPairs(Attends):
    """Of all rows alike: (steps, steps)."""

    def hidden(self, mask: Tensor) -> Tensor:
        return ~mask


@mask_of_one_row.good(inputs=_sequence)
class MasksByHead(Attends):
    """(heads, steps, steps)."""

    def hidden(self, mask: Tensor) -> Tensor:
        assert mask.ndim == 3, "a mask for each head"  # noqa: PLR2004
        return ~mask[None]
