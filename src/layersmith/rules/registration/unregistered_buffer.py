"""Every constant tensor that forward uses must be a buffer.

## Why it matters
A plain tensor attribute stays behind on `.to(device)` and `.double()`, and is missing from `state_dict()`:
the module works on your machine's CPU and fails on the first GPU.

## How it is tested
The module is moved to the `meta` device and called, in both modes: a plain tensor that meets a moved one there
stayed behind, and is an error. If forward cannot run there to its end, since it needs values, a plain tensor that
methods other than `__init__` name is a warning. A tensor that forward moves itself passes, and so does one that is never
used.

## How to fix it
`self.register_buffer("table", tensor)`, with `persistent=False` if it need not be saved.

## How to reproduce it
    kept = {id(t) for t in (*module.parameters(), *module.buffers())}
    held = {name: value if isinstance(value, (list, tuple)) else [value] for name, value in vars(module).items()}
    hidden = [name for name, values in held.items() for v in values if isinstance(v, torch.Tensor) and id(v) not in kept]
    assert not hidden, f"tensors that .to() and state_dict() do not know: {hidden}"
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import devices, source
from layersmith.probe.registration import Hidden, hidden
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

MOVES = frozenset({"to", "_apply"})  # what a class overrides to take along what it keeps


@rule(severity=Severity.ERROR, since="0.1", promise=Promise.REGISTERED)
def unregistered_buffer(case: Case) -> Iterator[Finding]:
    """Move the module, leave its plain tensors, and see which are met; one finding an attribute of a class."""
    attributes: dict[tuple[type, str], dict[str, tuple[Hidden, bool]]] = {}
    for training in (False, True):
        fresh = case.fresh(training=True) if training else case
        found = {id(one.value): one for one in hidden(fresh.module) if _is_constant(one.value)}
        if not found:
            return
        meeting = devices.left_behind(fresh.module, fresh.inputs, [_tensor(one) for one in found.values()])
        may_be_met = not (meeting.is_complete or training)
        for id_, one in found.items():
            is_seen = id_ in meeting.left_behind
            if is_seen or (may_be_met and _is_named_outside_init(one)):
                attributes.setdefault((one.owner_class, one.attribute), {})[one.path] = one, is_seen
    for group in attributes.values():
        is_seen = any(is_seen for _, is_seen in group.values())
        yield _finding([one for one, _ in group.values()], None if is_seen else Severity.WARNING)


def _is_constant(value: Tensor | nn.Module) -> bool:
    """Whether it is a tensor without a gradient; one without dimensions works beside every device."""
    return isinstance(value, Tensor) and not value.requires_grad and value.ndim > 0


def _tensor(one: Hidden) -> Tensor:
    assert isinstance(one.value, Tensor)
    return one.value


def _is_named_outside_init(one: Hidden) -> bool:
    """Whether its class uses it; what torch's own libraries keep, such as a transform, they move as they use it."""
    is_theirs = one.owner_class.__module__.startswith(("torch.", "torchvision.", "torchaudio."))
    methods = source.methods_naming(one.owner_class, one.attribute) - {"__init__"}
    return bool(methods) and not (is_theirs or methods & MOVES)


def _finding(group: list[Hidden], severity: Severity | None) -> Finding:
    first = group[0]
    file, line = source.attribute_line(first.owner_class, first.attribute)
    where = "there" if len({id(one.owner) for one in group}) == 1 else "in modules of its class"
    more = f", and {len(group) - 1} more {where}" if len(group) > 1 else ""
    return Finding(
        f"{first.path} {tuple(_tensor(first).shape)} is a plain tensor{more}: it stays behind on .to(device)",
        where=first.path,
        file=file,
        line=line,
        fix=f'self.register_buffer("{first.attribute}", ...)'
        + (", one for each tensor" if first.container else ""),
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


@unregistered_buffer.bad("noise (6,) is a plain tensor")
class NoiseInTraining(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(6))
        self.noise = torch.randn(6)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * self.noise if self.training else x


class _Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.ones(6)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


@unregistered_buffer.bad("first.scale (6,) is a plain tensor, and 1 more in modules of its class")
class TwoOfAKind(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = _Scaled(), _Scaled()

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).relu())


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
