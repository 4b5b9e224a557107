"""Train and eval mode, also for a module whose own `train` or `eval` is something else."""

from __future__ import annotations

from torch import nn


def in_mode(module: nn.Module, *, training: bool) -> nn.Module:
    """The module, put into a mode as it does that itself; by force where its `train` or `eval` is no such method."""
    try:
        (module.train if training else module.eval)()
    except Exception:  # noqa: BLE001 - a method of the user's that bears torch's name
        for part in nn.Module.modules(module):
            part.training = training
    return module
