"""A class or function is called with the sizes that the data decides, found by its parameters' names."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from layersmith.errors import UsageError
from layersmith.training.datasets import Dataset

HIDDEN_SIZE = 64  # where the data leaves a width open

INPUT_NAMES = (
    "input_size in_features input_dim in_dim input_features n_features num_inputs n_inputs in_size d_in"
)
OUTPUT_NAMES = (
    "output_size out_features output_dim out_dim output_features num_outputs n_outputs out_size d_out "
    "num_classes n_classes"
)
HIDDEN_NAMES = "hidden_size hidden_dim hidden_features hidden d_hidden"
WIDTH_NAMES = "dim d_model features num_features size width normalized_shape embed_dim"


def built(data: Dataset, factory: Callable[..., nn.Module]) -> nn.Module:
    """What the factory makes when its size parameters are given what the data needs.

    Parameters with a default keep it, unless their name says that the data decides them.

    Raises:
        UsageError: for a parameter without default whose name says nothing, when the factory raises, and when
            what it makes is no nn.Module.
    """
    name = getattr(factory, "__name__", type(factory).__name__)
    arguments = _arguments(data, factory, name)
    call = f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"
    try:
        module = factory(**arguments)
    except Exception as error:
        raise UsageError(
            f"{call} raised {type(error).__name__}: {error}; pass a function without arguments that builds it"
        ) from error
    if not isinstance(module, nn.Module):
        raise UsageError(f"{call} must give an nn.Module, not {type(module).__name__}: {module!r:.80}")
    return module


def decides_sizes(factory: Callable[..., object]) -> bool:
    """Whether the data can set both the number of features and of outputs: the mark of a whole model."""
    names = _parameters(factory).keys()
    return not names.isdisjoint(INPUT_NAMES.split()) and not names.isdisjoint(OUTPUT_NAMES.split())


def _arguments(data: Dataset, factory: Callable[..., nn.Module], name: str) -> dict[str, Any]:
    sizes = _sizes(data)
    decided = {*INPUT_NAMES.split(), *OUTPUT_NAMES.split()}
    needed = [
        key
        for key, parameter in _parameters(factory).items()
        if parameter.default is parameter.empty or key in decided
    ]
    unknown = [parameter for parameter in needed if parameter not in sizes]
    if unknown:
        raise UsageError(
            f"{name} asks for {', '.join(unknown)}, which {data.name} does not decide; "
            f"pass a function without arguments that builds it: lambda: {name}(...)"
        )
    return {parameter: sizes[parameter] for parameter in needed}


def _parameters(factory: Callable[..., object]) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(factory).parameters
    return {key: p for key, p in parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}


def _sizes(data: Dataset) -> Mapping[str, Any]:
    """Every parameter name that says a size, with the value to give it."""
    return {
        **dict.fromkeys(INPUT_NAMES.split(), data.features),
        **dict.fromkeys(OUTPUT_NAMES.split(), data.outputs),
        **dict.fromkeys((*HIDDEN_NAMES.split(), *WIDTH_NAMES.split()), HIDDEN_SIZE),
        **dict.fromkeys((f"{name}s" for name in HIDDEN_NAMES.split()), (HIDDEN_SIZE,)),
    }
