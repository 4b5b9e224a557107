"""The rows to learn from and the rows to judge by, standardised with what the first alone can know."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from layersmith.errors import UsageError
from layersmith.training.datasets import Dataset


@dataclass(frozen=True, slots=True)
class Rows:
    """Inputs [rows, ...] and targets [rows] or [rows, outputs] on one device."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.x)

    def batches(self, size: int) -> list[Rows]:
        """The rows in order, in as few batches of at most `size` as can be, as equal as they can be.

        A leftover batch of a single row, on which batch normalisation fails, never arises by itself.
        """
        count = -(-len(self) // size)
        pairs = zip(self.x.tensor_split(count), self.y.tensor_split(count), strict=True)
        return [Rows(x, y) for x, y in pairs]

    def shuffled(self, generator: torch.Generator) -> Rows:
        """The same rows in another order: one gather for a whole epoch."""
        order = torch.randperm(len(self), generator=generator, device="cpu").to(self.x.device)
        return Rows(self.x[order], self.y[order])

    def like(self, parameter: Tensor) -> Rows:
        """The same rows on the device and in the floating dtype of a model's parameter."""
        x = self.x.to(parameter.device, parameter.dtype)
        return Rows(x, self.y.to(parameter.device, parameter.dtype if self.y.is_floating_point() else None))


@dataclass(frozen=True, slots=True)
class Scaling:
    """Mean and deviation over the training rows, of each feature and of each target of a regression."""

    x_mean: Tensor
    x_std: Tensor
    y_mean: Tensor | None = None
    y_std: Tensor | None = None

    def inputs(self, x: Tensor) -> Tensor:
        """Raw inputs as a trained model takes them."""
        return (x - self.x_mean) / self.x_std

    def targets(self, y: Tensor) -> Tensor:
        """Raw targets as a model learns them; class indices stay as they are."""
        return y if self.y_mean is None or self.y_std is None else (y - self.y_mean) / self.y_std

    def outputs(self, outputs: Tensor) -> Tensor:
        """What a trained model answers, in the units of the raw targets; logits stay as they are."""
        return outputs if self.y_mean is None or self.y_std is None else outputs * self.y_std + self.y_mean


@dataclass(frozen=True, slots=True)
class Split:
    """Standardised training and validation rows, with the scaling that made them so."""

    train: Rows
    validation: Rows
    scaling: Scaling

    def like(self, parameter: Tensor) -> Split:
        """The same split on the device and in the floating dtype of a model's parameter."""
        return Split(self.train.like(parameter), self.validation.like(parameter), self.scaling)


def split(data: Dataset, *, validation_share: float = 0.25, seed: int = 0) -> Split:
    """Set a share of the rows aside, the same share of every class.

    Over the training rows every feature gets mean 0 and deviation 1, but the pixels of an image share theirs.

    Raises:
        UsageError: if the share leaves no row to learn from or none to judge by.
    """
    if not 0 < validation_share < 1:
        raise UsageError(f"validation_share must lie between 0 and 1, not {validation_share}")
    chosen = _validation_rows(data, validation_share, torch.Generator().manual_seed(seed))
    held_out = int(chosen.sum())
    if not 0 < held_out < len(data.x):
        raise UsageError(
            f"validation_share={validation_share} of {len(data.x)} rows of {data.name} leaves {held_out} "
            f"to judge by and {len(data.x) - held_out} to learn from; both must be more than 0"
        )
    scaling = _scaling(data.x[~chosen], data.y[~chosen], is_image=bool(data.image))
    x, y = scaling.inputs(data.x), scaling.targets(data.y)
    return Split(Rows(x[~chosen], y[~chosen]), Rows(x[chosen], y[chosen]), scaling)


def _validation_rows(data: Dataset, share: float, generator: torch.Generator) -> Tensor:
    """A mask [rows], drawn within each class of a classification."""
    groups = data.y if data.classes else torch.zeros_like(data.y[:, 0])
    mask = torch.zeros_like(groups, dtype=torch.bool)
    for group in groups.unique():
        rows = (groups == group).nonzero()[:, 0]
        order = torch.randperm(len(rows), generator=generator, device="cpu")
        mask[rows[order[: round(share * len(rows))]]] = True
    return mask


def _scaling(x: Tensor, y: Tensor, *, is_image: bool) -> Scaling:
    x_std = x.std(0, correction=0)
    if is_image:  # one unit for all pixels: a corner that is nearly always white would else be blown up
        x_std = x_std.square().mean().sqrt().expand_as(x_std)
    if not y.is_floating_point():
        return Scaling(x.mean(0), _divisor(x_std))
    return Scaling(x.mean(0), _divisor(x_std), y.mean(0), _divisor(y.std(0, correction=0)))


def _divisor(deviation: Tensor) -> Tensor:
    """The deviation; 1 where all rows agree, so that nothing is divided by zero."""
    return deviation.where(deviation > 0, 1.0)
