"""From a target (a module, a class, a function) to a net that maps the data's features to its outputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from layersmith.errors import UsageError
from layersmith.probe.template import copied
from layersmith.training.building import HIDDEN_SIZE, built
from layersmith.training.datasets import Dataset

Target = nn.Module | Callable[..., nn.Module]

TRIAL_ROWS = 4


@dataclass(frozen=True, slots=True)
class Fitted:
    """A net that fits the data, and how the target was built into it ("" when it is the target itself)."""

    module: nn.Module
    name: str
    arrangement: str = ""


def model_for(data: Dataset, target: Target) -> Fitted:
    """A net of the target's that maps the data's rows to its outputs.

    A module is copied; a class or function is called with sizes from the data. A module that takes images
    gets the rows as such; one that keeps any shape, as an activation does, is put between two `nn.Linear`;
    one that gives another number of outputs gets an `nn.Linear` readout.

    Raises:
        UsageError: if the module cannot be built, copied, or called on the data's rows.
    """
    module = _copied(target) if isinstance(target, nn.Module) else built(data, target)
    name = type(module).__name__
    answer = _answer(module, data.x[:TRIAL_ROWS])
    if _fits(answer, data):
        return Fitted(module, name)
    for net, arrangement in _surroundings(data, module, name):
        if _fits(_answer(net, data.x[:TRIAL_ROWS]), data):
            return Fitted(net, name, arrangement)
    raise UsageError(
        f"{name} does not fit {data.name}: asked to map [rows, {data.features}] to [rows, {data.outputs}], "
        f"it {_said(answer)}; pass a module of these sizes, or a function that builds one"
    )


def placement(module: nn.Module) -> Tensor:
    """A tensor (of no interest itself) of the device and floating dtype that the module computes in."""
    return next((p for p in module.parameters() if p.is_floating_point()), torch.empty(0))


def _copied(module: nn.Module) -> nn.Module:
    try:
        return copied(module)
    except Exception as error:
        raise UsageError(
            f"{type(module).__name__} cannot be copied ({error}), and yours must stay as it is; "
            "pass a function that builds it"
        ) from error


def _surroundings(data: Dataset, module: nn.Module, name: str) -> Iterator[tuple[nn.Module, str]]:
    """Nets around a module that does not fit by itself, each in words; the first that fits is taken."""
    bodies: list[tuple[nn.Module, str]] = [(module, name)]
    if data.image:
        images = nn.Sequential(nn.Unflatten(1, data.image), module)
        bodies.append((images, f"Unflatten(1, {data.image}) -> {name}"))
        yield bodies[-1]
    for width in (HIDDEN_SIZE, data.features):
        rows = torch.zeros(TRIAL_ROWS, width)
        if _answer(module, rows) == rows.shape:
            first, last = _linear(data.features, width, module), _linear(width, data.outputs, module)
            net = nn.Sequential(nn.Flatten(), first, module, last)
            yield net, f"Linear({data.features}, {width}) -> {name} -> Linear({width}, {data.outputs})"
    for body, words in bodies:
        answer = _answer(body, data.x[:TRIAL_ROWS])
        if isinstance(answer, torch.Size) and len(answer) > 1:
            width = math.prod(answer[1:])
            readout = _linear(width, data.outputs, module)
            yield nn.Sequential(body, nn.Flatten(), readout), f"{words} -> Linear({width}, {data.outputs})"


def _linear(in_features: int, out_features: int, beside: nn.Module) -> nn.Linear:
    like = placement(beside)
    return nn.Linear(in_features, out_features, device=like.device, dtype=like.dtype)


def _answer(module: nn.Module, x: Tensor) -> torch.Size | str:
    """The shape of what the module gives for these rows, or what it did instead."""
    like = placement(module)
    was_training = module.training
    try:
        with torch.no_grad():  # in eval mode, so that no running statistics move
            output = module.eval()(x.to(like.device, like.dtype))
    except Exception as error:  # noqa: BLE001 - whatever it raises, it does not fit
        return f"raised {type(error).__name__}: {error}"
    finally:
        module.train(was_training)
    return output.shape if isinstance(output, Tensor) else f"returned {type(output).__name__}, not a tensor"


def _fits(answer: torch.Size | str, data: Dataset) -> bool:
    rows = min(TRIAL_ROWS, len(data.x))
    return answer == (rows, data.outputs) or (data.outputs == 1 and answer == (rows,))


def _said(answer: torch.Size | str) -> str:
    return answer if isinstance(answer, str) else f"gave {['rows', *answer[1:]]}".replace("'", "")
