"""The answer must not depend on how the input lies in memory.

## Why it matters
`x.transpose(1, 2)`, `x[:, ::2]`, `channels_last` and `expand` give tensors that are not contiguous. Code that reads
memory in order (`as_strided`, a custom kernel, `storage()`) then computes with other numbers, and nothing raises.

## How it is tested
The same values are given transposed, cut from a larger tensor, in `channels_last`, and expanded from one row. Outputs
must be the same, or be so in float64: then it was rounding. If a `view` of the input raises instead, it is a note.

## How to fix it
`reshape` or `flatten` in the place of `view`; `x = x.contiguous()` before a kernel that reads memory in order.

## How to reproduce it
    module.eval()
    strided = [x.mT.contiguous().mT if x.dim() > 1 else x for x in args]
    assert torch.allclose(run(), run(*strided), rtol=1e-3, atol=1e-5), "other strides give another output"
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import closeness, layouts, source, steps, tree
from layersmith.probe.inputs import Inputs
from layersmith.probe.surroundings import preserved
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

REFUSED = "view size is not compatible"
REFUSALS = (
    "transposed",
    "from time-first",
)  # a view of an image in channels_last fails in half of all tutorials


@rule(
    severity=Severity.ERROR,
    since="0.1",
    promise=Promise.ANY_LAYOUT,
    after=("forward-raises", "nondeterministic-eval", "state-changes-in-eval", "input-modified"),
)
def strided_input(case: Case) -> Iterator[Finding]:
    """Call it with other strides; another answer goes before a refusal."""
    usual, refusals = case.run(), []
    for layout in _layouts(case.inputs):
        is_same = layout.name in layouts.CHANGES
        expected = usual if is_same else _called(case, layouts.contiguous(layout.inputs))
        try:
            gaps = closeness.gaps(expected, _called(case, layout.inputs))
        except Exception as error:  # noqa: BLE001 - to refuse is worth a note
            if REFUSED in str(error) and layout.name in REFUSALS:
                refusals.append((layout.name, error))
            continue
        is_nothing = all(one.max_abs <= _limit(usual, one.where) for one in gaps)
        if gaps and not (is_nothing or _is_discrete(expected) or _is_rounding(case, layout.name)):
            yield _finding(case, layout, gaps[0])
            return
    if refusals:
        yield _refusal(case.module, *refusals[0])


def _layouts(inputs: Inputs) -> Iterator[layouts.Layout]:
    yield from layouts.layouts(inputs)
    if (expanded := layouts.repeated_row(inputs)) is not None:
        yield expanded


def _called(case: Case, inputs: Inputs) -> object:
    """The output; the inputs are not copied, which would pack them."""
    with preserved(seed=case.seed):
        return case.module(*inputs.args, **inputs.kwargs)


def _limit(output: object, path: str) -> float:
    """What counts as rounding beside the usual output: what a norm leaves of rows that are alike is nothing else."""
    usual = dict(tree.named_tensors(output, name="output")).get(path)
    return closeness.gap(usual, torch.zeros_like(usual)).limit if usual is not None else 0.0


def _is_discrete(output: object) -> bool:
    """Whether all of it is whole numbers: an argmax may fall otherwise by one rounding."""
    return not any(tree.is_differentiable(tensor) for tensor in tree.tensors(output))


def _is_rounding(case: Case, name: str) -> bool:
    """Whether float64 gives the same answer: large numbers whose rounding a clamp, say, left over are no fault."""
    try:
        wide = case.fresh(dtype=torch.float64)
        layout = next(one for one in _layouts(wide.inputs) if one.name == name)
        return not closeness.gaps(
            _called(wide, layouts.contiguous(layout.inputs)), _called(wide, layout.inputs)
        )
    except Exception:  # noqa: BLE001 - without float64 there is no judge
        return False


def _finding(case: Case, layout: layouts.Layout, gap: closeness.Gap) -> Finding:
    runs = []
    for given in (layouts.contiguous(layout.inputs), layout.inputs):
        watched = steps.Steps(lambda result: [x.detach().clone() for x in tree.tensors(result)][:1])
        with watched:
            _called(case, given)
        runs.append(watched.seen)
    step = steps.first_apart(runs[0], runs[1])
    place = (step.file, step.line) if step is not None else source.class_line(type(case.module))
    begins = f"; it starts at {step.operation}()" if step is not None else ""
    return Finding(
        f"{gap.where} differs by {gap.max_abs:.2g} for the same values {layout.name}, limit {gap.limit:.2g}{begins}",
        gap.where,
        *place,
        fix="x = x.contiguous() before code that reads memory in order; reshape, not view or as_strided",
        numbers={"max_abs": gap.max_abs, "limit": gap.limit},
    )


def _refusal(module: nn.Module, name: str, error: Exception) -> Finding:
    file, line = source.error_line(error, module)
    text = " ".join(str(error).split())
    message = f"forward raises {type(error).__name__} for the same values {name}: {text:.150}"
    return Finding(message, "", file, line, "use reshape, or flatten, not view", severity=Severity.NOTE)


@strided_input.bad("differs by")
class ReadsMemoryInOrder(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.as_strided(x, (x.numel() // 2, 2), (2, 1)).sum(-1)


@strided_input.bad("raises RuntimeError for the same values transposed")
class ViewsTheInput(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.view(len(x) * 2, 3).relu().view(len(x), 6)


@strided_input.bad("for the same values expanded from one row")
class TrustsStrides(nn.Module):
    """Takes a stride of 0 for an empty axis."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.stride(0) else x * 0


@strided_input.good
class Reshapes(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(-1, 2, 3).sum(-1)


@strided_input.good
class PacksFirst(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x = x.contiguous()
        return x.as_strided((x.shape[0], 2, 3), (6, 3, 1)).sum(-1)
