"""Real data by name, or the user's own pair of inputs and targets, as one kind of Dataset."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import torch
from torch import Tensor

from layersmith.errors import UsageError


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows of numbers and what to learn about each.

    `x` is float32 [rows, features] (the user's own may have more dimensions). `y` is int64 [rows], an index
    into `classes`, for classification, and float32 [rows, outputs] for regression, where `classes` is empty.
    """

    name: str
    x: Tensor
    y: Tensor
    classes: tuple[Any, ...] = ()
    image: tuple[int, ...] = ()  # channels, height, width of a row that is a picture
    source: str = ""
    licence: str = ""

    @property
    def task(self) -> str:
        """What is learned: "classification" or "regression"."""
        return "classification" if self.classes else "regression"

    @property
    def features(self) -> int:
        """How many numbers describe one row."""
        return math.prod(self.x.shape[1:])

    @property
    def outputs(self) -> int:
        """How many numbers a model must answer for one row: a logit for each class, or the targets."""
        return len(self.classes) or self.y.shape[1]


Data = str | Dataset | tuple[Any, Any]


def load(data: Data) -> Dataset:
    """The data set of that name, or the user's own `(x, y)` of tensors, arrays or lists.

    Integer, boolean or text `y` is classification (labels need not be 0, 1, 2 ...), floating `y` regression.

    Raises:
        UsageError: for an unknown name, and for arrays that cannot be learned from.

    Example:
        >>> digits = load("digits")
        >>> digits.x.shape, digits.outputs, digits.task
        (torch.Size([1797, 64]), 10, 'classification')
    """
    if isinstance(data, Dataset):
        return data
    if isinstance(data, str):
        return _named(data)
    if isinstance(data, tuple | list) and len(data) == 2:  # noqa: PLR2004 - a pair
        return own(*data)
    raise UsageError(f"data must be a name or a pair (x, y), not {type(data).__name__}: {data!r:.80}")


def own(x: Any, y: Any, *, name: str = "your data") -> Dataset:
    """A Dataset of the user's own arrays.

    Raises:
        UsageError: for fewer than two dimensions in `x`, unequal lengths, values that are not finite, a `y`
            of one class only, or integers that are measurements rather than classes.
    """
    inputs = _floats(x, "x")
    labels = _array(y)
    if inputs.ndim < 2 or len(inputs) != len(labels):  # noqa: PLR2004 - rows and features
        shapes = f"x {list(inputs.shape)} and y {list(labels.shape)}"
        raise UsageError(f"{name}: x must be [rows, features] and y as long, but they are {shapes}")
    if labels.dtype.kind == "f":
        targets = _floats(y, "y").reshape(len(labels), -1)
        return Dataset(name, inputs, targets)
    indices, classes = _classes(labels, name)
    return Dataset(name, inputs, indices, classes)


def _named(name: str) -> Dataset:
    loaders: Mapping[str, Callable[[], Dataset]] = {"digits": _digits, "diabetes": _diabetes}
    if name not in loaders:
        raise UsageError(
            f"there is no data set {name!r}; choose {' or '.join(loaders)}, or pass your own (x, y)"
        )
    return loaders[name]()


def _digits() -> Dataset:
    path = resources.files("layersmith.training") / "data" / "digits.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        x, y = torch.from_numpy(arrays["x"]).float(), torch.from_numpy(arrays["y"]).long()
    return Dataset(
        "digits",
        x,
        y,
        classes=tuple(range(10)),
        image=(1, 8, 8),
        source="Alpaydin & Kaynak (1998), https://doi.org/10.24432/C50P49, test set, as in scikit-learn",
        licence="CC BY 4.0",
    )


def _diabetes() -> Dataset:
    try:
        from sklearn.datasets import load_diabetes  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as error:
        raise UsageError(
            "the data set 'diabetes' comes with scikit-learn, which is not installed: "
            "pip install 'layersmith[data]'"
        ) from error
    x, y = load_diabetes(return_X_y=True, scaled=False)
    return Dataset(
        "diabetes",
        torch.from_numpy(x).float(),
        torch.from_numpy(y).float()[:, None],
        source="Efron, Hastie, Johnstone & Tibshirani (2004), Least Angle Regression, as in scikit-learn",
        licence="BSD-3-Clause",
    )


def _classes(labels: np.ndarray[Any, Any], name: str) -> tuple[Tensor, tuple[Any, ...]]:
    """The index of each row's class, and the classes in order."""
    if labels.ndim != 1:
        raise UsageError(f"{name}: class labels must be one a row, but y is {list(labels.shape)}")
    classes, indices = np.unique(labels, return_inverse=True)
    if len(classes) < 2:  # noqa: PLR2004 - one class leaves nothing to tell apart
        raise UsageError(f"{name}: y holds one class only, {classes.tolist()}")
    if len(classes) > len(labels) // 2:
        raise UsageError(
            f"{name}: y holds {len(classes)} different {labels.dtype} values in {len(labels)} rows; "
            "if they are measurements and not classes, pass them as floats"
        )
    return torch.from_numpy(indices).long(), tuple(classes.tolist())


def _floats(values: Any, name: str) -> Tensor:
    """The values as float32.

    Raises:
        UsageError: if they are no numbers, or one of them is not finite.
    """
    array = _array(values)
    if array.dtype.kind not in "biuf":
        raise UsageError(f"{name} must hold numbers, not {array.dtype}")
    tensor = torch.from_numpy(array.astype(np.float32))
    wrong = (~tensor.isfinite()).nonzero()
    if len(wrong):
        place = wrong[0].tolist()
        raise UsageError(
            f"{name} is not finite in {len(wrong)} places, first {tensor[tuple(place)]} at {place}"
        )
    return tensor


def _array(values: Any) -> np.ndarray[Any, Any]:
    if not isinstance(values, Tensor):
        return np.asarray(values)
    values = values.detach().cpu()
    array: np.ndarray[Any, Any] = (values.double() if values.is_floating_point() else values).numpy()
    return array
