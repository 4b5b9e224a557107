"""Layersmith: the workbench for people who write their own PyTorch layers and models.

Importing it imports neither torch nor anything else: each name is fetched when it is first used (PEP 562).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from layersmith import nn
    from layersmith.api import check, init, profile, record
    from layersmith.errors import CheckError, LayersmithError, UsageError
    from layersmith.finding import Finding, Measurement, Outcome, Result, Severity, Status
    from layersmith.probe.gain import gain
    from layersmith.probe.gradients import gradients
    from layersmith.probe.mean_field import edge_of_chaos, mean_field
    from layersmith.promises import Contract, contract
    from layersmith.repair import initialize_
    from layersmith.report import Report
    from layersmith.training import train

__all__ = [
    "CheckError",
    "Contract",
    "Finding",
    "LayersmithError",
    "Measurement",
    "Outcome",
    "Report",
    "Result",
    "Severity",
    "Status",
    "UsageError",
    "check",
    "contract",
    "edge_of_chaos",
    "gain",
    "gradients",
    "init",
    "initialize_",
    "mean_field",
    "nn",
    "profile",
    "record",
    "train",
]

_HOMES = {
    "layersmith.api": ("check", "init", "profile", "record"),
    "layersmith.errors": ("CheckError", "LayersmithError", "UsageError"),
    "layersmith.finding": ("Finding", "Measurement", "Outcome", "Result", "Severity", "Status"),
    "layersmith.probe.gain": ("gain",),
    "layersmith.probe.gradients": ("gradients",),
    "layersmith.probe.mean_field": ("edge_of_chaos", "mean_field"),
    "layersmith.promises": ("Contract", "contract"),
    "layersmith.repair": ("initialize_",),
    "layersmith.report": ("Report",),
    "layersmith.training": ("train",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "nn":
        return importlib.import_module("layersmith.nn")
    if name not in _HOME:
        raise AttributeError(f"module 'layersmith' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
