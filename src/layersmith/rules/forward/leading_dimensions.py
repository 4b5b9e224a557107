"""Where any number of leading axes is promised, each must work, and give the same answers.

## Why it matters
`Float[Tensor, "*batch dim"]`, or `(*, dim)` in a docstring, tells users that a single vector and a batch of
sequences are welcome. A `dim=1` that should be `dim=-1` holds that promise for two axes only, and quietly
breaks it for three.

## How it is tested
Asked only where an annotation or docstring promises it. The example is given with one axis more in front, and
as its first element alone: outputs must be the same, with one axis more or less. Two examples, one above the other,
must give the parameters the sum of the gradients of each.

## How to fix it
Count axes from the end: `dim=-1`, `x.shape[-2]`, `flatten(-2)`; or promise what is true: `"batch dim"`.

## How to reproduce it
    module.eval()
    one = run()
    deeper = run(*(x.unsqueeze(0) for x in args))[0]
    assert torch.allclose(one, deeper, rtol=1e-3, atol=1e-5), "with one axis more in front, the output differs"
    if (two := run(*(torch.stack([x, x]) for x in args))).requires_grad:
        two.backward(torch.randn_like(two.transpose(0, -1)).transpose(0, -1))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import annotated, arguments, closeness, leading, source, tree
from layersmith.probe.closeness import Gap
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "one axis more": lambda x: x.unsqueeze(0),
    "one axis less": lambda x: x[0],
}


@rule(
    severity=Severity.ERROR,
    since="0.1",
    promise=Promise.DECLARED,
    after=("forward-raises", "nondeterministic-eval", "batch-leak"),
)
def leading_dimensions(case: Case) -> Iterator[Finding]:
    """Give it an axis more, then one less."""
    promised = _promised(case)
    usual = dict(tree.named_tensors(case.run(), name="output"))
    for name, change in CHANGES.items():
        if any(name == "one axis less" and tensor.ndim <= least for tensor, least in promised):
            continue
        new = {id(tensor): change(tensor.detach()) for tensor, _ in promised}
        try:
            output = case.run(arguments.replaced(case.inputs, new))
        except Exception as error:  # noqa: BLE001 - whatever it raises breaks the promise
            file, line = source.error_line(error, case.module)
            text = " ".join(str(error).split())
            yield Finding(
                f"forward raises {type(error).__name__} with {name} in front: {text:.200}",
                "",
                file,
                line,
                FIX,
            )
            return
        for path, tensor in tree.named_tensors(output, name="output"):
            if path not in usual or usual[path].ndim == 0:
                continue
            gap = closeness.gap(change(usual[path]), tensor, where=path)
            if gap.is_open:
                how = "has another shape" if gap.limit == 0.0 else f"differs by {gap.max_abs:.2g}"
                message = f"{path} {how} with {name} in front, limit {gap.limit:.2g}"
                yield Finding(message, path, *source.class_line(type(case.module)), fix=FIX)
                return
    free = [tensor for tensor, _ in promised]
    if wrong := leading.in_backward(lambda: case.fresh().module, case.inputs, free, seed=case.seed):
        yield _wrong(case, wrong)


def _wrong(case: Case, wrong: Gap | Exception) -> Finding:
    if isinstance(wrong, Exception):
        what = f"backward raises {type(wrong).__name__} with one axis more in front: {' '.join(str(wrong).split()):.200}"
        return Finding(what, "", *source.error_line(wrong, case.module), fix=FIX_BACKWARD)
    what = (
        f"{wrong.where} differs by {wrong.max_abs:.2g} with one axis more in front, limit {wrong.limit:.2g}"
    )
    return Finding(what, "", *source.class_line(type(case.module)), fix=FIX_BACKWARD)


FIX_BACKWARD = "take all axes but the last as rows: `gradient.flatten(0, -2)`"
FIX = "count axes from the end: dim=-1"


def _promised(case: Case) -> list[tuple[Tensor, int]]:
    """The tensors whose leading axes are free, each with the number of those that are not."""
    stated = annotated.axes(case.module)
    named = [*arguments.named(case.module, case.inputs)]
    free = [
        (tensor, len(stated[name]) - 1)
        for _, name, tensor in named
        if name in stated and annotated.is_leading(stated[name])
    ]
    if not stated and annotated.says_leading(case.module) and len(named) == 1:
        free = [
            (tensor, tensor.ndim) for _, _, tensor in named
        ]  # how many are fixed is not said: only one more
    if not free:
        raise NotApplicable("no annotation or docstring promises any number of leading axes")
    return free


@leading_dimensions.bad("with one axis more in front")
class SumsTheSecondAxis(nn.Module):
    def forward(self, x: Float[Tensor, "*batch dim"]) -> Tensor:
        return x / (x.abs().sum(1, keepdim=True) + 1)


@leading_dimensions.bad("forward raises")
class UnpacksTwo(nn.Module):
    """Input: (*, dim)."""

    def forward(self, x: Tensor) -> Tensor:
        rows, features = x.shape
        return x.reshape(rows, features).relu()


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x @ weight.mT

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        return gradient @ weight, gradient.flatten(0, -2).mT @ x.flatten(0, -2)


class _LinearByViews(_Linear):
    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        return gradient @ weight, gradient.view(-1, gradient.shape[-1]).mT @ x.flatten(0, -2)


@leading_dimensions.bad("backward raises RuntimeError with one axis more in front")
class ViewsTheGradient(nn.Module):
    """Input: (*, dim)."""

    function: type[_Linear] = _LinearByViews

    def __init__(self, dim: int = 6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(dim))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.function.apply(x, self.weight)
        return y


@leading_dimensions.good
class FlattensTheGradient(ViewsTheGradient):
    """Input: (*, dim)."""

    function = _Linear


@leading_dimensions.good
class SumsTheLastAxis(nn.Module):
    def forward(self, x: Float[Tensor, "*batch dim"]) -> Tensor:
        return x / (x.abs().sum(-1, keepdim=True) + 1)


@leading_dimensions.good
class PromisesTwoAxes(nn.Module):
    def forward(self, x: Float[Tensor, "batch dim"]) -> Tensor:
        rows, features = x.shape
        return torch.relu(x).reshape(rows, features)


@leading_dimensions.good(inputs=lambda: torch.randn(5, 3, 6))
class ForecastsTheFirst(nn.Module):
    """x: (B, T, width), of which the target is x[..., 0]."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(6, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.gru(x)[0]
