"""Arguments that name a device which this machine has not: `device="cuda"` by default."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

import torch

_ACCELERATOR = re.compile(r"(cuda|gpu|mps|xpu|hpu|npu)(:\d+)?")


def nearest(parameters: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    """The processor for those whose default is an accelerator that is not there."""
    return {name: here(p.default) for name, p in parameters.items() if _is_absent(p.default)}


def here(value: Any) -> Any:
    """The value; the processor where it names an accelerator that is not there."""
    return type(value)("cpu") if _is_absent(value) else value


def _is_absent(default: object) -> bool:
    named = _ACCELERATOR.fullmatch(str(default)) if isinstance(default, str | torch.device) else None
    return named is not None and not (torch.accelerator.is_available() and _is_current(named[1]))


def _is_current(kind: str) -> bool:
    current = torch.accelerator.current_accelerator()
    return current is not None and current.type == kind
