"""Every constant tensor that forward uses must be a buffer.

## Why it matters
A plain tensor attribute stays behind on `.to(device)` and `.double()`, and is missing from `state_dict()`:
the module works on your machine's CPU and fails on the first GPU.

## How it is tested
The module is moved to the `meta` device and called: a plain tensor that makes this fail because it stayed
behind is an error. If forward cannot run there for another reason, a plain tensor that methods other than
`__init__` name is a warning. A tensor that forward moves itself passes, and so does one that is never used.

## How to fix it
`self.register_buffer("table", tensor)`, with `persistent=False` if it need not be saved.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import source
from layersmith.probe.registration import Hidden, hidden
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.REGISTERED)
def unregistered_buffer(case: Case) -> Iterator[Finding]:
    """Move the module and all plain tensors but one: that one is to blame if only then forward fails."""
    found = _left_behind(case.module)
    if not found or _fails_on_meta(case.fresh().module, case, moving=()) is False:
        return
    fresh = case.fresh().module
    is_clear = _fails_on_meta(fresh, case, moving=_left_behind(fresh)) is False
    for index, one in enumerate(found):
        fresh = case.fresh().module
        others = [other for i, other in enumerate(_left_behind(fresh)) if i != index]
        if is_clear and _fails_on_meta(fresh, case, moving=others):
            yield _finding(one, None)
        elif not is_clear and _is_named_outside_init(one):
            yield _finding(one, Severity.WARNING)


def _left_behind(module: nn.Module) -> list[Hidden]:
    """Plain tensors without a gradient; a 0-dim one is left out: on the CPU it works with every device."""
    return [
        one
        for one in hidden(module)
        if isinstance(one.value, Tensor) and not one.value.requires_grad and one.value.ndim
    ]


def _fails_on_meta(module: nn.Module, case: Case, *, moving: Iterable[Hidden]) -> bool | None:
    """True if a tensor stayed behind, False if all is well, None if forward cannot run there at all."""
    for one in moving:
        _replace(one, one.value.to("meta"))
    try:
        case.inputs.map(lambda tensor: tensor.to("meta")).call(module.to("meta"))
    except Exception as error:  # noqa: BLE001 - the kind of failure is the answer
        text = str(error)
        return True if "device" in text and ("cpu" in text or "meta" in text) else None
    return False


def _replace(one: Hidden, new: object) -> None:
    if not one.container:
        setattr(one.owner, one.attribute, new)
        return
    held = getattr(one.owner, one.attribute)
    if isinstance(held, list | tuple):
        setattr(one.owner, one.attribute, type(held)(new if item is one.value else item for item in held))
    elif isinstance(held, dict):
        setattr(one.owner, one.attribute, {k: new if item is one.value else item for k, item in held.items()})


def _is_named_outside_init(one: Hidden) -> bool:
    return bool(source.methods_naming(one.owner_class, one.attribute) - {"__init__"})


def _finding(one: Hidden, severity: Severity | None) -> Finding:
    file, line = source.attribute_line(type(one.owner), one.attribute)
    assert isinstance(one.value, Tensor)
    return Finding(
        f"{one.path} {tuple(one.value.shape)} is a plain tensor: it stays behind on .to(device)",
        where=one.path,
        file=file,
        line=line,
        fix=f'self.register_buffer("{one.attribute}", ..., persistent=False)',
        severity=severity,
    )


@unregistered_buffer.bad("table (6,) is a plain tensor")
class PlainTable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = torch.arange(6.0)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table


@unregistered_buffer.bad("masks[0] (6,) is a plain tensor")
class MasksInAList(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.masks = [torch.ones(6), torch.eye(6)[0]]

    def forward(self, x: Tensor) -> Tensor:
        return x * self.masks[0] + x * self.masks[1]


@unregistered_buffer.good
class BufferTable(nn.Module):
    table: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.arange(6.0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table


@unregistered_buffer.good
class MovesItsTable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = torch.arange(6.0)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table.to(x)
