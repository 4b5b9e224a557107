"""How good outputs are: a loss to descend and a metric to read, by the kind of target."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812 - its name everywhere
from torch import Tensor


def loss(outputs: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy in nats for class indices [rows], mean squared error for numbers [rows, outputs]."""
    return F.mse_loss(outputs, y) if y.is_floating_point() else F.cross_entropy(outputs, y)


def metric(outputs: Tensor, y: Tensor) -> float:
    """The share of right answers for class indices, R2 for numbers. Greater is better, 1 is best."""
    return _r2(outputs.double(), y.double()) if y.is_floating_point() else _accuracy(outputs, y)


def _accuracy(outputs: Tensor, y: Tensor) -> float:
    return float((outputs.argmax(1) == y).double().mean())


def _r2(outputs: Tensor, y: Tensor) -> float:
    """One minus the squared error relative to that of each target's own mean."""
    error, spread = float((y - outputs).square().sum()), float((y - y.mean(0)).square().sum())
    if spread == 0:  # nothing to explain
        return float(error == 0)
    return 1 - error / spread
