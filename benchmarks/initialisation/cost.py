"""What a gain and an audit cost: CPU milliseconds, and passes of the module itself (forward and backward).

python benchmarks/initialisation/cost.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from layersmith.probe.audit import audit
from layersmith.probe.gain import gain
from layersmith.probe.inputs import Inputs

ACTIVATIONS: list[Any] = [
    nn.ReLU(),
    nn.GELU(),
    nn.SiLU(),
    nn.Tanh(),
    nn.Hardtanh(-0.37, 0.71),
    lambda x: 0.5 * torch.clamp(x, min=0),
]


def stack(width: int, depth: int) -> nn.Sequential:
    """Linear layers and GELUs."""
    return nn.Sequential(*[part for _ in range(depth) for part in (nn.Linear(width, width), nn.GELU())])


def convolutions(channels: int, depth: int) -> nn.Sequential:
    """Convolutions, normalisations and ReLUs."""
    parts = [
        (nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU())
        for _ in range(depth)
    ]
    return nn.Sequential(*[one for part in parts for one in part])


MODULES: list[tuple[str, Callable[[], nn.Module], tuple[int, ...]]] = [
    ("12 x Linear(512) and GELU, 512 rows", lambda: stack(512, 12), (512, 512)),
    ("8 x Conv2d(64), BatchNorm and ReLU, 16 x 24 x 24", lambda: convolutions(64, 8), (16, 64, 24, 24)),
    (
        "4 transformer layers of 256, 16 x 96 tokens",
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(256, 4, 1024, batch_first=True), 4),
        (16, 96, 256),
    ),
    ("Linear(16) and GELU, 32 rows", lambda: stack(16, 1), (32, 16)),
]


def seconds(*functions: Callable[[], object], times: int) -> list[float]:
    """The median CPU time of each, called in turns."""
    found: list[list[float]] = [[] for _ in functions]
    for _ in range(times):
        for function, times_taken in zip(functions, found, strict=True):
            began = time.process_time()
            function()
            times_taken.append(time.process_time() - began)
    return [statistics.median(one) for one in found]


def one_pass(module: nn.Module, x: Tensor) -> None:
    """Forward and backward."""
    module.zero_grad()
    module(x.clone().requires_grad_()).sum().backward()


def main() -> None:
    """Print both tables."""
    torch.set_num_threads(1)
    gain(nn.ReLU())
    taken = seconds(*(partial(gain, activation) for activation in ACTIVATIONS), times=41)
    for activation, one in zip(ACTIVATIONS, taken, strict=True):
        print(f"gain of {str(activation)[:40]:42}{1e3 * one:6.1f} ms")
    for name, build, shape in MODULES:
        torch.manual_seed(0)
        module, x = build(), torch.randn(*shape)
        one_pass(module, x)
        audit(module, Inputs.of(x))
        alone, audited = seconds(partial(one_pass, module, x), partial(audit, module, Inputs.of(x)), times=7)
        print(f"audit of {name:50}{1e3 * alone:7.1f} ms a pass, {audited / alone:5.2f} passes")


if __name__ == "__main__":
    main()
