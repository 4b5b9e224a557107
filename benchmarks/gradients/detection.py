"""How many of 20 planted errors are caught: ours quick and full, gradcheck slow and fast, gradgradcheck fast.

    python benchmarks/gradients/detection.py [--seeds 20] [--sizes 64,512]

Slow gradcheck is run at 16x16 (it takes thousands of forward passes at more). Runtime: about ten minutes.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import torch
from peers import Peer  # type: ignore[import-not-found]
from torch import Tensor, nn

from layersmith.probe.gradients import GradientReport, gradients

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "probe" / "gradients"))
from planted import FIRST_ORDER, FULL_ONLY, plant  # type: ignore[import-not-found]

SLOW_SIZE = 16
ELEMENTS = ("element zero", "element sign", "element x1.01")


def main() -> None:
    """Print one table for each size."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--sizes", default="64,512")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    # A failing fast check builds the slow Jacobian for its message: hours at 512, and no part of its verdict.
    vars(sys.modules["torch.autograd.gradcheck"])["_run_slow_mode_and_get_error"] = lambda *_: ""
    for size in map(int, options.sizes.split(",")):
        print(f"\n{size}x{size}, caught in {options.seeds} seeds   (slow: at {SLOW_SIZE}x{SLOW_SIZE})")
        print(
            f"{'error':22s} {'quick':>6s} {'full':>6s} {'slow':>6s} {'fast':>6s} {'gg fast':>8s} {'element':>8s}"
        )
        for error in ("right", *FIRST_ORDER, *FULL_ONLY):
            print_row(error, size, options.seeds)


def print_row(error: str, size: int, seeds: int) -> None:
    """One error: what each method caught."""
    counts = [0] * 5
    located = 0
    for seed in range(seeds):
        module, (x,) = plant(error, n=size, rows=8 if size <= 64 else 2, seed=seed)
        full = gradients(module, x, mode="full", seed=seed)
        counts[0] += not gradients(module, x, seed=seed).ok
        counts[1] += not full.ok
        located += is_located(full, error, module)
        if size <= 64:
            small, (y,) = plant(error, n=SLOW_SIZE, rows=4, seed=seed)
            counts[2] += not Peer(small, y).check(fast=False)
        counts[3] += not Peer(module, x).check()
        counts[4] += not Peer(module, x).check_second()
    slow = str(counts[2]) if size <= 64 else "-"
    element = str(located) if error in ELEMENTS else ""
    cells = f"{counts[0]:6d} {counts[1]:6d} {slow:>6s} {counts[3]:6d} {counts[4]:8d} {element:>8s}"
    print(f"{error:22s} {cells}", flush=True)


def is_located(report: GradientReport, error: str, module: nn.Module) -> bool:
    """Whether the one wrong element was found."""
    weight: Tensor | None = getattr(module, "weight", None)
    if error not in ELEMENTS or weight is None:
        return False
    at = (int(weight.shape[0] / 3), int(weight.shape[1] / 5))
    return [(found.tensor, found.index) for found in report.errors] == [("weight", at)]


if __name__ == "__main__":
    main()
