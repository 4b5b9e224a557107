"""What one call leaves in a module must not get into its state_dict.

## Why it matters
A cache or an activation in a buffer is saved with the shape of the last batch. The checkpoint then loads
only into a module that has seen a batch of the same shape: `load_state_dict` of a fresh one fails with a
size mismatch or an unexpected key.

## How it is tested
After a call in eval and one in train mode, the state_dict is loaded into a fresh module. Entries that
appeared, vanished or changed their shape, and make it fail, are named. Lazy parameters take their shapes
before.

## How to fix it
`self.register_buffer("cache", None, persistent=False)`, or a plain attribute that forward fills on each
call.

## How to reproduce it
    saved = {name: tensor.shape for name, tensor in module.state_dict().items()}
    run()
    build().load_state_dict(module.state_dict())
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from layersmith.finding import Finding, Severity
from layersmith.probe import reading, source
from layersmith.promises import Promise
from layersmith.rule import rule
from layersmith.subject import Case

Shapes = dict[str, tuple[int, ...]]


@rule(
    severity=Severity.ERROR,
    since="0.1",
    promise=Promise.STATE_ROUND_TRIP,
    after=("parameter-made-in-forward",),
)
def transient_state_saved(case: Case) -> Iterator[Finding]:
    """Call; load into a fresh one; say which entries are in the way."""
    fresh = case.fresh().module
    old = _shapes(fresh)
    case.run()
    with contextlib.suppress(Exception):  # train mode may ask for more than the example has
        case.module.train()
        case.run()
    new = _shapes(case.module)
    if new == old:
        return
    try:
        fresh.load_state_dict(case.module.state_dict())
    except Exception as error:  # noqa: BLE001 - that it fails is the finding
        yield from (_finding(case, name, old, new, error) for name in sorted(_changed(old, new))[:3])


def _shapes(module: nn.Module) -> Shapes:
    return {
        name: tuple(value.shape) for name, value in module.state_dict().items() if isinstance(value, Tensor)
    }


def _changed(old: Shapes, new: Shapes) -> set[str]:
    return {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}


def _finding(case: Case, name: str, old: Shapes, new: Shapes, error: Exception) -> Finding:
    owner, attribute = source.owner(case.module, name)
    before = f"from {list(old[name])}" if name in old else "from nothing"
    after = f"to {list(new[name])}" if name in new else "to nothing"
    return Finding(
        f"state_dict entry {name} went {before} {after} by a call, and no longer loads into a fresh module "
        f"({type(error).__name__})",
        name,
        *reading.setting_line(type(owner), attribute, case.module, name),
        fix=f'self.register_buffer("{attribute}", None, persistent=False)',
    )


@transient_state_saved.bad("state_dict entry attention went from [1] to [4, 6]")
class SavesItsAttention(nn.Module):
    attention: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("attention", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.attention = x.softmax(-1).detach()
        return x * self.attention


@transient_state_saved.bad("state_dict entry table went from nothing")
class SavesItsTable(nn.Module):
    table: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", None)

    def forward(self, x: Tensor) -> Tensor:
        if self.table is None or len(self.table) != len(x):
            self.table = torch.arange(len(x), dtype=x.dtype, device=x.device)[:, None].sin()
        return x * (1 + self.table)[: len(x)].mean()


@transient_state_saved.good
class TableNotSaved(nn.Module):
    table: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.table is None or self.table.shape != x.shape[-1:] or self.table.dtype != x.dtype:
            self.table = torch.arange(x.shape[-1], device=x.device).sin().to(x.dtype)
        return x + self.table
