"""The legs: is backward right in every circumstance that it can meet?"""

from __future__ import annotations

from collections.abc import Callable

from layersmith.probe.gradients.legs.bench import Bench
from layersmith.probe.gradients.legs.buffers import buffers
from layersmith.probe.gradients.legs.frozen import frozen
from layersmith.probe.gradients.legs.grad_output import layouts, undefined
from layersmith.probe.gradients.legs.jvp import jvp
from layersmith.probe.gradients.legs.moved_inputs import scaled_inputs, scattered_inputs
from layersmith.probe.gradients.legs.second import second_order_leg
from layersmith.probe.gradients.legs.single import float32

LEGS: tuple[Callable[[Bench], None], ...] = (
    layouts,
    undefined,
    float32,
    scaled_inputs,
    scattered_inputs,
    frozen,
    buffers,
    second_order_leg,
    jvp,
)

# What a backward written by hand is asked in quick mode too; torch's own need none of it.
OF_FUNCTIONS = (layouts, undefined, scattered_inputs, frozen, second_order_leg, jvp)

__all__ = ("LEGS", "OF_FUNCTIONS", "Bench", "frozen")
