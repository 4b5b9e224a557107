"""What came of a training: a record of each epoch, the run of each model, and the report of both."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from layersmith.probe.closeness import STANDARD_ERRORS
from layersmith.training.split import Scaling

SCHEMA = 1
LONG = 1e3  # an R2 that only an exponent keeps readable


@dataclass(frozen=True, slots=True)
class Epoch:
    """One pass over the training rows.

    Losses are cross-entropy in nats, or the squared error of standardised targets. Metrics are the share of
    right answers, or R2. The training numbers are gathered while the weights change, dropout and all; the
    validation numbers come after.
    """

    epoch: int  # 1-based
    train_loss: float
    validation_loss: float
    train_metric: float
    validation_metric: float
    seconds: float = field(compare=False)  # of training, without validation

    @property
    def rank(self) -> tuple[float, float]:
        """Greater is better: the validation metric, then the smaller validation loss."""
        return self.validation_metric, -self.validation_loss


@dataclass(frozen=True, slots=True)
class Run:
    """One model's training so far: its records, and a copy of the weights of its best epoch."""

    name: str
    parameters: int  # that are trained
    history: tuple[Epoch, ...] = field(default=(), repr=False)
    best: Epoch | None = None
    weights: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    diverged_at: int = 0  # the step, 1-based, at which the loss stopped being finite; 0 when it never did

    def to_dict(self) -> dict[str, Any]:
        """The run without its weights, ready for JSON."""
        return {
            "name": self.name,
            "parameters": self.parameters,
            "best_epoch": self.best.epoch if self.best else None,
            "best_metric": self.best.validation_metric if self.best else None,
            "diverged_at": self.diverged_at or None,
            "history": [dataclasses.asdict(epoch) for epoch in self.history],
        }


@dataclass(frozen=True, slots=True)
class TrainReport:
    """A model's training beside that of its baseline, on the same rows in the same batches."""

    run: Run
    baseline: Run | None
    model: nn.Module = field(
        repr=False, compare=False
    )  # the trained copy, with its best weights, in eval mode
    scaling: Scaling = field(repr=False, compare=False)  # what the model's inputs and outputs went through
    arrangement: str  # how the target was built into a net that fits the data; "" when it fits as it is
    data: str
    task: str
    rows_train: int
    rows_validation: int
    seed: int
    interrupted: bool = False
    weights_path: Path | None = None

    @property
    def name(self) -> str:
        """The class of the target."""
        return self.run.name

    @property
    def history(self) -> tuple[Epoch, ...]:
        """A record of each finished epoch of the model."""
        return self.run.history

    @property
    def best(self) -> Epoch | None:
        """The model's best epoch by its validation rows, whose weights are kept; None before the first."""
        return self.run.best

    @property
    def metric(self) -> str:
        """What the metrics of an Epoch are."""
        return "accuracy" if self.task == "classification" else "R2"

    @property
    def verdict(self) -> str:
        """The outcome in one sentence, with how far the validation rows can be trusted to rank the two."""
        if self.best is None:
            return f"no epoch was finished{self._divergence}"
        sentence = f"{self.shown(self.best.validation_metric)} validation {self.metric}{self._divergence}"
        if self.baseline is None or self.baseline.best is None:
            return sentence
        sentence += f", baseline {self.shown(self.baseline.best.validation_metric)}"
        if self._is_close(self.best, self.baseline.best):
            sentence += f": too close to call on {self.rows_validation} rows"
        return sentence

    def __str__(self) -> str:
        return f"{self.name} on {self.data}: {self.verdict}"

    def shown(self, metric: float) -> str:
        """A metric for people: `97.3 %` for an accuracy, three decimals for R2."""
        if self.task == "classification":
            return f"{100 * metric:.1f} %"
        return f"{metric:.3f}" if abs(metric) < LONG else f"{metric:.1e}"

    def to_dict(self) -> dict[str, Any]:
        """The report ready for JSON, without the model."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "arrangement": self.arrangement,
            "data": self.data,
            "task": self.task,
            "metric": self.metric,
            "rows": {"train": self.rows_train, "validation": self.rows_validation},
            "seed": self.seed,
            "interrupted": self.interrupted,
            "weights": str(self.weights_path) if self.weights_path else None,
            "verdict": self.verdict,
            "model": self.run.to_dict(),
            "baseline": self.baseline.to_dict() if self.baseline else None,
        }

    @property
    def _divergence(self) -> str:
        step = self.run.diverged_at
        return f" (the loss was no longer finite at step {step})" if step else ""

    def _is_close(self, one: Epoch, other: Epoch) -> bool:
        """Whether two accuracies differ by less than chance would make them; never said of R2."""
        if self.task != "classification":
            return False
        shares = (one.validation_metric, other.validation_metric)
        variance = sum(share * (1 - share) for share in shares) / self.rows_validation
        return abs(shares[0] - shares[1]) <= STANDARD_ERRORS * math.sqrt(variance)
