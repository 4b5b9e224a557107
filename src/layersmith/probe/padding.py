"""What padding does to the outputs of valid steps: appended and hidden by a mask, or marked by a token."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import torch
from torch import nn

from layersmith.probe import closeness, sequence, source, tree
from layersmith.probe.inputs import Inputs
from layersmith.probe.masking import AS_LENGTHS, Encoding, Masking
from layersmith.probe.sequence import Layout, Run

NAMES = ("pad_idx", "padding_idx", "pad_id", "pad_token_id", "pad_index", "pad_token", "pad")
SHIFTS = re.compile(r"\[:, :-1\]|\[:, 1:\]")  # predicts the next token: the last one is but a label
PADDED = re.compile(r"\bpadded\b[\w ]*(?:\bids?\b|tokens?|sequences?)|\bis padding\b", re.IGNORECASE)
SHORT = (2, 3)  # valid steps: so few that a maximum of them is sometimes below zero


def by_masks(maskings: Iterable[Masking], inputs: Inputs, run: Run) -> Iterator[tuple[str, closeness.Gap]]:
    """For every mask argument that is obeyed: the gap between padded and unpadded, and how it was hidden."""
    for masking in maskings:
        for encoding in masking.working[:1]:
            for valid in sorted({*SHORT, masking.layout.steps - 1} - {masking.layout.steps}):
                asked = masking.asked(inputs)
                gaps = (
                    _of(masking, cut(asked, valid), asked, encoding, run, valid)
                    for cut in _cuts(masking, asked)
                )
                gap = next((gap for gap in gaps if gap is not None), None)
                if gap is not None:
                    yield f"{masking.argument}, {encoding.name}", gap


def _cuts(masking: Masking, asked: Inputs) -> list[Callable[[Inputs, int], Inputs]]:
    """How a call is made shorter: the sequence alone, or with the numbers that belong to its steps, such as tags.

    What has a mask of its own, `trg_mask` beside `src_mask`, is another sequence.
    """
    laid = masking.layout
    shape = (_rows(laid, asked), laid.steps)
    others = {
        f"input[{index}]"
        for index, name in enumerate(masking.parameters)
        if f"{name}_mask" in masking.parameters
    }
    tags = [
        name
        for name, one in asked.named_tensors()
        if tuple(one.shape) == shape and not one.is_floating_point() and name not in others
    ]
    return [laid.prefix, replace(laid, names=tuple(dict.fromkeys((*laid.names, *tags)))).prefix]


def _rows(laid: Layout, asked: Inputs) -> int:
    return int(dict(asked.named_tensors())[laid.names[0]].shape[laid.batch])


def _of(
    masking: Masking, alone: Inputs, asked: Inputs, encoding: Encoding, run: Run, valid: int
) -> closeness.Gap | None:
    steps = masking.layout.steps
    hidden, rest = tuple(range(valid, steps)), tuple(range(valid))
    try:
        short = masking.visible(run(masking.masked(alone, encoding, ())), rest, length=valid)
        if encoding is AS_LENGTHS and masking.layout.time == 0:
            return None
        long = masking.visible(run(masking.masked(asked, encoding, hidden)), rest, length=steps)
    except Exception:  # noqa: BLE001 - a module of fixed length cannot be asked
        return None
    if short is None or long is None or short.shape != long.shape or not bool(short.isfinite().all()):
        return None
    return closeness.gap(short, long) if bool(long.isfinite().all()) else None


def fills_in(maskings: Iterable[Masking], module: nn.Module, inputs: Inputs) -> bool:
    """Whether a learned mask token stands in for what is hidden: a parameter that only a masked call reaches."""
    for masking in maskings:
        asked = masking.asked(inputs)
        for encoding in masking.working[:1]:
            calls = (masking.masked(asked, encoding, hidden) for hidden in ((), masking.hidden))
            bare, masked = (_reached(module, call) for call in calls)
            if masked - bare:
                return True
    return False


def _reached(module: nn.Module, inputs: Inputs) -> set[str]:
    """The parameters with a gradient other than zero."""
    named = [(name, one) for name, one in module.named_parameters() if one.requires_grad]
    found = [t for t in tree.tensors(inputs.call(module)) if t.requires_grad]
    if not named or not found:
        return set()
    gradients = torch.autograd.grad(tree.total(found), [one for _, one in named], allow_unused=True)
    return {
        name
        for (name, _), one in zip(named, gradients, strict=True)
        if one is not None and bool(one.count_nonzero())
    }


def token(module: nn.Module) -> int | None:
    """The token that marks padding; None where forward does not look for it, and the docstring speaks of none.

    Forward looks for what it compares its ids with: `ids != self.pad_idx`. A docstring that speaks of padded ids means
    the `padding_idx` of the embedding, where forward is told the lengths in no other way, and a recurrent layer goes
    on through them: convolutions and a maximum are hardly moved by vectors of zeros.
    """
    said = [type(module).__doc__ or "", module.forward.__doc__ or ""]
    parts = [*nn.Module.modules(module)]
    is_alone = len(inspect.signature(module.forward).parameters) == 1
    if is_alone and any(map(PADDED.search, said)) and any(isinstance(part, nn.RNNBase) for part in parts):
        marks = {part.padding_idx for part in parts if isinstance(part, nn.Embedding)} - {None}
        return marks.pop() if len(marks) == 1 else None
    for part in nn.Module.modules(module):
        cls: type = type(part)
        node = source.class_node(cls)
        text = _called_text(node) if node is not None else ""
        for name in NAMES:
            value = getattr(part, name, None)
            compares = rf"(?:[!=]=\s*self\.{name}\b|\.(?:eq|ne)\(self\.{name}\b)"
            if isinstance(value, int) and re.search(compares, text):
                return value
    return None


def _called_text(node: ast.ClassDef) -> str:
    """The source of forward and of the methods that it calls, directly or not."""
    methods = {child.name: ast.unparse(child) for child in node.body if isinstance(child, ast.FunctionDef)}
    waiting, text = ["forward"], ""
    while waiting:
        text += "\n" + methods.pop(waiting.pop(), "")
        waiting += [name for name in methods if re.search(rf"\bself\.{name}\(", text)]
    return text


def by_token(module: nn.Module, inputs: Inputs, run: Run, pad: int) -> Iterator[tuple[str, closeness.Gap]]:
    """The gap between rows of tokens, and the same rows with padding tokens appended."""
    tensors = [*inputs.tensors()]
    laid = sequence.layout(module, inputs, run)
    if (
        laid is None
        or len(tensors) != 1
        or tensors[0].is_floating_point()
        or tensors[0].ndim != sequence.ROWS
    ):
        return
    if _is_next_token_loss(module, inputs, run):
        return  # it takes what came last as a label, of the short row, and as an input, of the long one
    ids = tensors[0].clone()
    ids[ids == pad] = _other(ids, pad)
    for valid in sorted({*SHORT, laid.steps - 1} - {laid.steps}):
        padded = ids.clone()
        padded.narrow(laid.time, valid, laid.steps - valid).fill_(pad)
        mixed = padded.clone()
        mixed.select(1 - laid.time, 0).copy_(ids.select(1 - laid.time, 0))  # beside a row that is longer
        for one, first in ((padded, 0), (mixed, 1)):
            gap = _between(laid, run, inputs.map(lambda _, p=one: p), valid, first)
            if gap is not None:
                yield "tokens equal to pad_idx", gap


def _is_next_token_loss(module: nn.Module, inputs: Inputs, run: Run) -> bool:
    cls: type = type(module)
    node = source.class_node(cls)
    is_shifted = node is not None and SHIFTS.search(_called_text(node)) is not None
    return is_shifted and all(tensor.ndim == 0 for tensor in tree.tensors(run(inputs)))


def _between(laid: Layout, run: Run, padded: Inputs, valid: int, first: int) -> closeness.Gap | None:
    """The gap between padded and unpadded rows, from the first that is padded."""
    try:
        short, long = run(laid.prefix(padded, valid)), run(padded)
    except Exception:  # noqa: BLE001 - a module of fixed length cannot be asked
        return None
    one, other = (
        next((t for t in tree.tensors(out) if tree.is_differentiable(t)), None) for out in (short, long)
    )
    if one is None or other is None:
        return None
    axis = laid.axis_of(other)
    if axis is not None and other.shape != one.shape:
        other = other.narrow(axis, 0, valid)
    if one.shape != other.shape or not bool(one.isfinite().all()) or not bool(other.isfinite().all()):
        return None
    if first and one.ndim:
        rows = 0 if axis is None else 1 - axis if axis < 2 else 0  # noqa: PLR2004 - rows and steps come first
        one, other = (out.narrow(rows, first, out.shape[rows] - first) for out in (one, other))
    return closeness.gap(one, other) if one.ndim or not first else None


def _other(ids: torch.Tensor, pad: int) -> int:
    """A token that is in use and is not padding."""
    found = ids[ids != pad]
    return int(found[0]) if found.numel() else max(pad - 1, 0) if pad else 1
