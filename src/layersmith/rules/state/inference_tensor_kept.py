"""A call under `torch.inference_mode()` must leave nothing that a training step stumbles over.

## Why it matters
A table that is made at the first call and kept is an inference tensor if that call was a validation, as loops that check
themselves before they train make it. The first training step then raises "Inference tensors cannot be saved for
backward", on a line that has nothing wrong.

## How it is tested
Of modules in which a call leaves something: one call in eval mode under `torch.inference_mode()`, then forward and
backward in train mode. What raises about inference tensors there, and does not without the first call, is reported. It
is a note, as most loops validate under `torch.no_grad()`.

## How to fix it
Register the table as a buffer in `__init__`, compute it in every call, or make it under
`torch.inference_mode(False)`.

## How to reproduce it
    with torch.inference_mode():
        module.eval()(*args, **kwargs)
    args = tuple(x.clone().requires_grad_() if x.is_floating_point() else x for x in args)
    module.train()(*args, **kwargs).sum().backward()
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.observations import leaves_something
from layersmith.probe import contents, leaves, reading, source, tree
from layersmith.probe.modes import in_mode
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case


@rule(
    severity=Severity.NOTE,
    since="0.1",
    promise=Promise.INDEPENDENT_CALLS,
    after=("forward-raises", "second-backward", "call-history"),
)
def inference_tensor_kept(case: Case) -> Iterator[Finding]:
    """Validate first, then train."""
    if not case.once(leaves_something):
        raise NotApplicable("a call leaves nothing in it")
    validated, fresh = case.fresh(), case.fresh(training=True)
    with torch.inference_mode():
        validated.run()
    in_mode(validated.module, training=True)
    if _error(fresh) or "nference tensor" not in (text := _error(validated)):
        return
    kept = [*contents.differing(validated.module, case.fresh().module)]
    cls: type = type(case.module)
    place = reading.setting_line(kept[0].owner, kept[0].attribute) if kept else source.class_line(cls)
    names = ", ".join(one.path for one in kept[:3])
    yield Finding(
        f"after a call under torch.inference_mode() a training step raises: {text:.90}"
        + (f"; {names} is kept from that call" if names else ""),
        kept[0].path if kept else "",
        *place,
        fix="make it in __init__, as a buffer, or in every call",
    )


def _error(case: Case) -> str:
    """What a training step raises; "" where it works."""
    inputs = case.inputs.map(lambda x: x.clone().requires_grad_() if tree.is_differentiable(x) else x)
    try:
        with torch.enable_grad():
            outputs = leaves.tensors_within(case.run(inputs))
            tree.total(one for one in outputs if one.requires_grad).backward()
    except Exception as error:  # noqa: BLE001 - what it raises is asked for
        return " ".join(str(error).split())
    return ""


class _Turned(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table: Tensor | None = None

    def made(self, x: Tensor) -> Tensor:
        return torch.arange(x.shape[1], device=x.device).cos()[:, None].to(x.dtype)


@inference_tensor_kept.bad(
    "Inference tensors cannot be saved for backward", inputs=lambda: torch.randn(3, 7, 6)
)
class KeepsItsTable(_Turned):
    def forward(self, x: Tensor) -> Tensor:
        if self.table is None or self.table.shape[0] != x.shape[1] or self.table.dtype != x.dtype:
            self.table = self.made(x)
        return x * self.table.to(x.device)


@inference_tensor_kept.bad("mask is kept from that call", inputs=lambda: torch.randn(3, 7, 6))
class KeepsItsMask(nn.Module):
    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.zeros(0, 0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.mask.shape[0] != x.shape[1] or self.mask.dtype != x.dtype:
            self.mask = x.new_ones(x.shape[1], x.shape[1]).tril()
        return self.mask @ x / x.shape[1]


@inference_tensor_kept.good(inputs=lambda: torch.randn(3, 7, 6))
class MakesItsTable(_Turned):
    def forward(self, x: Tensor) -> Tensor:
        return x * self.made(x)


@inference_tensor_kept.good(inputs=lambda: torch.randn(3, 7, 6))
class KeepsAnOrdinaryTable(_Turned):
    """Made outside of inference mode, whoever calls."""

    def forward(self, x: Tensor) -> Tensor:
        if self.table is None or self.table.shape[0] != x.shape[1] or self.table.dtype != x.dtype:
            with torch.inference_mode(False):  # noqa: FBT003 - dynamo takes no keyword
                self.table = self.made(torch.empty_like(x))
        return x * self.table.to(x.device)
