"""The gradient engine: is what backward computes the derivative of what forward computes?

How it works, what it can miss and where the ideas come from: docs/gradients.md.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from layersmith.errors import UsageError
from layersmith.probe.gradients.examine import examine
from layersmith.probe.gradients.frame import framed
from layersmith.probe.gradients.report import Element, GradientReport, Leg, WrongGradient, question_of
from layersmith.probe.inputs import Inputs

Mode = Literal["quick", "full"]

__all__ = ("Element", "GradientReport", "Leg", "Mode", "WrongGradient", "gradients", "question_of")


def gradients(
    module: nn.Module,
    inputs: object,
    *,
    mode: Mode = "quick",
    seed: int = 0,
    surrogate: str = "",
    freeze: bool = False,
) -> GradientReport:
    """Compare backward with finite differences, for every parameter and input at once.

    Works on a float64 copy at a point near the given one (off kinks and ties); module, inputs, generators and
    global settings stay as they are.

    Args:
        module: any module, in the mode (train or eval) in which it is to be examined.
        inputs: a tensor, a tuple of positional arguments, or a dict of keyword arguments.
        mode: "quick" is one forward, one backward and two forwards, and for an autograd.Function also layouts, frozen
            tensors, second order and jvp; "full" adds these for all, a second draw, float32 and scaled inputs.
        seed: of every random number drawn here, and of the module's own at each call.
        surrogate: why the gradient is meant to differ from the derivative (straight-through, reversal); then
            only finiteness, shapes and determinism are asked.
        freeze: whether to ask in quick mode too, of any module, what happens when weights or inputs are frozen.

    Raises:
        UsageError: if inputs is of another kind, or the mode is unknown.

    Example:
        >>> import torch
        >>> from layersmith.probe.gradients import gradients
        >>> gradients(torch.nn.Linear(4, 3), torch.randn(8, 4)).ok
        True
    """
    if mode not in ("quick", "full"):
        raise UsageError(f"mode must be 'quick' or 'full', not {mode!r}")
    call = Inputs.of(inputs)
    with framed(torch.float64):
        return examine(module, call, mode=mode, seed=seed, surrogate=surrogate, freeze=freeze)
