"""The best weights as a safetensors file that says what they are and how to feed them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_model
from torch import Tensor, nn

from layersmith.errors import UsageError
from layersmith.training.report import TrainReport
from layersmith.training.split import Scaling

SCALING = "scaling"


def saved(report: TrainReport, path: Path) -> TrainReport:
    """The same report, with its model's weights at `path`; nothing is written before a first epoch ends.

    `safetensors.torch.load_model(module, path)` reads them back, tied parameters included.
    """
    if report.best is None:
        return report
    save_model(report.model, str(path), metadata=_metadata(report))
    return dataclasses.replace(report, weights_path=path)


def ensure_savable(module: nn.Module, path: Path) -> None:
    """Say now what would fail after the training.

    Raises:
        UsageError: if the path is no place for a file, or the module's state is more than tensors.
    """
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(f"weights cannot be written to {path}: name a file in a folder that exists")
    others = [name for name, value in module.state_dict().items() if not isinstance(value, Tensor)]
    if others:
        raise UsageError(
            f"safetensors holds only tensors, but {type(module).__name__} also has {', '.join(others)}"
        )


def scaling_of(path: Path | str) -> Scaling:
    """What the inputs and outputs of the model in that file went through in training.

    Raises:
        UsageError: if the file cannot be read, or was not written by `layersmith train`.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{path} cannot be read as safetensors: {error}") from error
    if SCALING not in metadata:
        raise UsageError(f"{path} holds no scaling: it was not written by layersmith train")
    tensors: dict[str, Any] = {key: _tensor(value) for key, value in json.loads(metadata[SCALING]).items()}
    return Scaling(**tensors)


def _metadata(report: TrainReport) -> dict[str, str]:
    best = report.best
    return {
        "class": report.name,
        "arrangement": report.arrangement,
        "data": report.data,
        "seed": str(report.seed),
        "epoch": str(best.epoch if best else 0),
        report.metric: str(best.validation_metric if best else ""),
        SCALING: json.dumps(
            {field.name: _list(report.scaling, field.name) for field in dataclasses.fields(Scaling)}
        ),
    }


def _list(scaling: Scaling, name: str) -> list[Any] | None:
    value: Tensor | None = getattr(scaling, name)
    return None if value is None else value.tolist()


def _tensor(values: list[Any] | None) -> Tensor | None:
    return None if values is None else torch.tensor(values)
