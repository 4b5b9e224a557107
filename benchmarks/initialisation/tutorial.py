"""The tutorial's model on digits, as written and with new starting weights: `layersmith train`, three seeds.

python benchmarks/initialisation/tutorial.py
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

import layersmith
from layersmith.repair import METHODS, initialize_
from layersmith.training import load

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from examples.tutorial import CustomModel


def built(method: str, x: Tensor) -> nn.Module:
    """The model, as written or repaired on the first rows; from torch's seed."""
    model: nn.Module = CustomModel(64, 64, 10)  # type: ignore[no-untyped-call]
    return model if method == "as written" else initialize_(model, x[:64], method=method)


def main() -> None:
    """Print a line a method."""
    torch.set_num_threads(1)
    x = load("digits").x
    x = (x - x.mean(0)) / x.std(0).clamp(min=1e-3)
    for method in ("as written", *METHODS):
        found = []
        for seed in range(3):
            report = layersmith.train(partial(built, method, x), seed=seed, baseline=False)
            found.append(f"{100 * report.best.validation_metric:.1f} %" if report.best else "none")
        print(f"{method:12}{', '.join(found)}", flush=True)


if __name__ == "__main__":
    main()
