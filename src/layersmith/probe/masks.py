"""Mask arguments of forward: which there are, in which shapes and encodings they hide a step, and what that changes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.probe import closeness, sequence, tree
from layersmith.probe.inputs import Inputs
from layersmith.probe.masking import AS_LENGTHS, ENCODINGS, Encoding, Masking, Trial, of_rows, with_argument
from layersmith.probe.sequence import LOUD, Layout, Run

KEYS = re.compile(
    r"^(mask|(key_|src_|tgt_|src_key_|tgt_key_|memory_|memory_key_|context_|encoder_|node_|atom_|object_|slot_|patch_|x_|input_|token_|seq_|sequence_|valid_|frame_|time_)?(padding_|pad_)?mask"
    r"|keep_mask|attention_mask|(is_)?valid|is_pad(ding)?)$"
)
OF_OTHERS = re.compile(r"^(memory|context|encoder|src)_")  # not of the first input's steps
OF_ONE = re.compile(r"^(\w+?)_((key_)?(padding_|pad_))?mask$")
SOURCE = re.compile(r"enc|mem|src|context")
PAIRS = re.compile(r"^(attn_mask|src_mask|tgt_mask|attn_bias)$")
LENGTHS = re.compile(
    r"^((x_|input_|seq_|sequence_|src_|text_)?(lens|lengths|seqlens)|valid_lens?|x_len|seq_lens)$"
)
# Shapes to try: b batch, t time. A key mask is first tried by rows, an attention mask by pairs of steps.
OF_KEYS = ("bt", "b1t", "b11t", "btt", "b1tt", "bt1", "tt")
OF_PAIRS = ("tt", "btt", "b1tt", "11tt", "b11t")
ODD = (3, 5, 7, 4)  # batch sizes; one that no other size equals, so that a mask fits in one way only


def arguments(module: nn.Module) -> tuple[str, ...]:
    """The parameters of forward that are masks or lengths by their name."""
    try:
        names = inspect.signature(module.forward).parameters
    except (TypeError, ValueError):
        return ()
    are_known = {name: any(p.match(name.lower()) for p in (KEYS, PAIRS, LENGTHS)) for name in names}
    return tuple(name for name, is_known in are_known.items() if is_known or _owner(tuple(names), name))


def given(module: nn.Module, inputs: Inputs, name: str) -> Any:
    """What a call passes for a parameter of forward; None where it passes nothing."""
    return inspect.signature(module.forward).bind_partial(*inputs.args, **inputs.kwargs).arguments.get(name)


def without(module: nn.Module, inputs: Inputs) -> Inputs:
    """The same call with None for every mask that may be None: rows of which all is hidden see whatever there is."""
    parameters = tuple(inspect.signature(module.forward).parameters)
    for name in arguments(module):
        if isinstance(given(module, inputs, name), Tensor) and _may_be_none(module, name):
            inputs = with_argument(parameters, inputs, name, None)
    return inputs


def studied(module: nn.Module, inputs: Inputs, run: Run) -> Iterator[Masking]:
    """Every mask argument that can be asked about: its shape is known or found, and steps to hide matter without it.

    Args:
        module: in eval.
        inputs: a call of it.
        run: calls it, and may raise.
    """
    names = [name for name in arguments(module) if not _is_said_causal(module, inputs, name)]
    free = tuple(
        name
        for name in names
        if isinstance(given(module, inputs, name), Tensor) and _may_be_none(module, name)
    )
    for name in names:
        if found := _study(module, inputs, free if _may_be_none(module, name) else (), name, run):
            yield found


def _is_said_causal(module: nn.Module, inputs: Inputs, name: str) -> bool:
    """Whether the call says that a mask is the causal one, which then need not be read: `tgt_is_causal=True`."""
    if not PAIRS.match(name.lower()):  # but one of padding hides what it hides
        return False
    hints = (f"{name.removesuffix('mask')}is_causal", "is_causal")
    taken = inspect.signature(module.forward).parameters
    return any(hint in taken and given(module, inputs, hint) is True for hint in hints)


def _study(
    module: nn.Module, inputs: Inputs, without: tuple[str, ...], name: str, run: Run
) -> Masking | None:
    """The mask as one of the first input's steps; else of those of another input, as a context has its own.

    Where it does not hide those, it may hide the steps of any: of a context that is as long as the first.
    """
    old = given(module, inputs, name)
    (_, first), *rest = inputs.named_tensors()
    stacks = {path: one for path, one in rest if one is not old and one.ndim > sequence.ROWS}
    is_vector = bool(stacks) and first.ndim == sequence.ROWS and first.is_floating_point()  # one query
    others = [path for path, one in stacks.items() if is_vector or one.shape[1:2] != first.shape[1:2]]
    own = [] if is_vector or _is_of_another(module, name) else [""]
    paths = [*own, *others]
    if owner := _owner(tuple(inspect.signature(module.forward).parameters), name):
        its = given(module, inputs, owner)
        paths = [p for p, one in inputs.named_tensors() if one is its and one.ndim <= sequence.MATRIX]
    found = (_along(module, inputs, without, name, run, path) for path in paths)
    likely = next((one for one in found if one is not None), None)
    if likely is None or likely.working:
        return likely
    rescuers = (_along(module, inputs, without, name, run, path) for path in stacks)
    return next((one for one in rescuers if one is not None and one.working), likely)


def _owner(parameters: tuple[str, ...], name: str) -> str:
    """The parameter that a mask of no usual name is named after: `words` of `word_mask`; "" for other names."""
    said = OF_ONE.match(name)
    if said is None or any(usual.match(name.lower()) for usual in (KEYS, PAIRS)):
        return ""
    others = (one for one in parameters if one != name and not one.endswith("mask"))
    return next((one for one in others if one in (said[1], f"{said[1]}s")), "")


def _is_of_another(module: nn.Module, name: str) -> bool:
    """Whether a mask's name says that it is not of the first input, as `memory_mask` where `memory` is not that.

    A `src_mask` is that of the first input, but where the source comes behind it, as in a decoder.
    """
    said = OF_OTHERS.match(name.lower())
    first, *rest = inspect.signature(module.forward).parameters
    if said is None or first.lower().startswith(said[1]):
        return False
    return said[1] != "src" or any(SOURCE.match(one.lower()) and "mask" not in one for one in rest)


def _along(
    module: nn.Module, inputs: Inputs, without: tuple[str, ...], name: str, run: Run, path: str
) -> Masking | None:
    parameters = tuple(inspect.signature(module.forward).parameters)
    start = inputs
    for other in without:
        start = with_argument(parameters, start, other, None)
    old = given(module, inputs, name)
    known = old.shape[-1] if isinstance(old, Tensor) and old.ndim > 1 else 0
    laid = sequence.layout(module, start, run, assumed=1, steps=known, path=path)
    if laid is None:
        return None
    rows = _odd_batch(module, start, laid, run)
    for shape in _shapes(inputs, module, name, laid):
        masking = Masking(name, shape, parameters, without, rows, laid)
        asked = masking.asked(inputs)
        encodings = (AS_LENGTHS,) if shape == "lengths" else _encodings(old)
        outputs = {one: _tried(run, masking.masked(asked, one, ())) for one in encodings}
        open_ = {one: output for one, output in outputs.items() if output is not None}
        if open_:
            if _is_strided(module, laid, next(iter(open_.values()))):
                return None
            calls = (
                [asked]
                if _may_be_none(module, name)
                else [masking.masked(asked, one, ()) for one in [*open_][:2]]
            )
            if shape == "lengths":  # turned round, lengths hide most where they are full
                calls.append(masking.masked(asked, AS_LENGTHS, tuple(range(1, laid.steps))))
            return _with_trials(masking, asked, open_, calls, run)
    return None


def _is_strided(module: nn.Module, laid: Layout, output: Any) -> bool:
    """Whether the output has other steps than the input, each of which sees several of those: which are visible?"""
    tensor = next((one for one in tree.tensors(output) if tree.is_differentiable(one)), None)
    if tensor is None or tensor.ndim <= sequence.ROWS:
        return False
    return laid.axis_of(tensor) is None and sequence.strides(module)


def _with_trials(
    masking: Masking, asked: Inputs, open_: dict[Encoding, Any], calls: list[Inputs], run: Run
) -> Masking | None:
    """Under each encoding, given with its output when nothing is hidden."""
    for hidden in _places(masking.layout.steps, masking.shape):
        found = replace(masking, hidden=hidden)
        partly = (
            [] if masking.shape == "lengths" else [found.masked(asked, one, hidden) for one in [*open_][:2]]
        )
        if not any(_matters(found, call, run) for call in (*calls, *partly)):
            continue
        for encoding, full in open_.items():
            if found.working and encoding.dtype != found.working[0].dtype:
                break
            trial = _trial(found, asked, encoding, full, run)
            found = replace(found, trials=(*found.trials, trial)) if trial is not None else found
        return found
    return None


def _places(steps: int, shape: str) -> Iterator[tuple[int, ...]]:
    """Which steps to hide: the end, as padding lies there; else a step in the middle, which a causal module sees."""
    yield tuple(range(steps - max(1, steps // 3), steps))
    if shape != "lengths":
        yield (1,)


def _matters(masking: Masking, call: Inputs, run: Run) -> bool:
    """Whether, in a call that hides nothing, the outputs at the other steps depend on the steps to hide."""
    rest = tuple(step for step in range(masking.layout.steps) if step not in masking.hidden)
    changed = masking.layout.scrambled(call, masking.hidden, seed=0, loud=LOUD)
    before, after = _tried(run, call), _tried(run, changed)
    one, other = (masking.visible(out, rest, length=masking.layout.steps) for out in (before, after))
    return one is not None and other is not None and closeness.gap(one, other).is_open


def _trial(masking: Masking, asked: Inputs, encoding: Encoding, full: Any, run: Run) -> Trial | None:
    """What hiding these steps did; None where it does not run or gives NaN at what is visible."""
    layout, hidden = masking.layout, masking.hidden
    rest = tuple(step for step in range(layout.steps) if step not in hidden)
    call = masking.masked(asked, encoding, hidden)
    base = _tried(run, call)
    if base is None:
        return None
    seen = masking.visible(base, rest, length=layout.steps)
    if seen is None or not bool(seen.isfinite().all()):
        return None
    leak = closeness.Gap("", 0.0, 0.0)
    for seed, loud in enumerate((1.0, LOUD)):
        other = masking.visible(
            run(layout.scrambled(call, hidden, seed=seed, loud=loud)), rest, length=layout.steps
        )
        gap = closeness.gap(seen, other if other is not None else seen)
        leak = max(leak, gap, key=lambda one: one.max_abs - one.limit)
    other = masking.visible(run(layout.scrambled(call, rest, seed=0)), rest, length=layout.steps)
    alive = other is not None and closeness.gap(seen, other).is_open
    return Trial(encoding, bool(closeness.gaps(full, base)), leak, alive)


def _shapes(inputs: Inputs, module: nn.Module, name: str, laid: Layout) -> tuple[str, ...]:
    if LENGTHS.match(name.lower()):
        return ("lengths",)
    old = given(module, inputs, name)
    if isinstance(old, Tensor):
        x = dict(inputs.named_tensors())[laid.names[0]]
        known = {1: "1", laid.steps: "t", x.shape[laid.batch]: "b"}
        letters = "".join(known.get(size, "?") for size in old.shape)
        letters = (
            re.sub("^t", "b", letters) if letters == "tt" and x.shape[laid.batch] == laid.steps else letters
        )
        return (letters,) if letters in (*OF_KEYS, *OF_PAIRS) else ()
    return OF_PAIRS if PAIRS.match(name.lower()) else OF_KEYS


def _encodings(old: object) -> tuple[Encoding, ...]:
    if not isinstance(old, Tensor):
        return ENCODINGS
    dtype = old.dtype if not old.is_floating_point() else torch.float32
    return tuple(one for one in ENCODINGS if one.dtype == dtype)


def _odd_batch(module: nn.Module, inputs: Inputs, laid: Layout, run: Run) -> int:
    """Another number of rows, if it takes one: no head count, width or length equals it; else 0."""
    sizes = {
        value for part in nn.Module.modules(module) for value in vars(part).values() if isinstance(value, int)
    }
    sizes |= {size for tensor in inputs.tensors() for size in tensor.shape[1:]}
    rows = next((size for size in ODD if size not in sizes), next(n for n in count(11) if n not in sizes))
    return rows if _tried(run, of_rows(inputs, laid, rows)) is not None else 0


def _may_be_none(module: nn.Module, name: str) -> bool:
    return inspect.signature(module.forward).parameters[name].default is None


def _tried(run: Run, inputs: Inputs) -> Any:
    """The output; None where the call raises."""
    try:
        return run(inputs)
    except Exception:  # noqa: BLE001 - that it raises is the answer
        return None
