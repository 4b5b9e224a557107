"""Modules as repositories hold them are built and called as in their real use."""

from __future__ import annotations

import re
from typing import Any

import pytest
import repositories  # type: ignore[import-not-found]
from torch import Tensor, nn

from layersmith.load.build import subject_of_class

OTHERWISE = {"CenterLoss", "LSTMTagger"}  # called, but not as its author would
NOT_CALLED = {"DiceLoss"}  # four dimensions against three, and the class dimension must fit the constructor's


def classes() -> list[type[nn.Module]]:
    found = [
        cls for cls in vars(repositories).values() if isinstance(cls, type) and issubclass(cls, nn.Module)
    ]
    return [
        cls for cls in found if cls.__module__ == repositories.__name__ and cls.__name__ not in NOT_CALLED
    ]


@pytest.mark.parametrize("cls", classes(), ids=lambda cls: cls.__name__)
def test_a_module_of_a_repository_is_called_as_in_real_use(cls: type[nn.Module]) -> None:
    subject = subject_of_class(cls)
    inputs = subject.inputs(0)
    subject.case(seed=1).run()
    kinds = " ".join(kind(value) for value in [*inputs.args, *inputs.kwargs.values()])
    wanted = repositories.REAL[cls.__name__].replace("(", r"\(").replace("*", ".")
    if cls.__name__ not in OTHERWISE:
        assert re.match(wanted, kinds), subject.inferred_from


def kind(value: Any) -> str:
    """`4f`: four dimensions of floats; `(` before what is in a container; 0: a plain value."""
    if isinstance(value, Tensor):
        return (
            f"{value.dim()}{'f' if value.is_floating_point() else 'i' if value.dtype.itemsize > 1 else 'b'}"
        )
    if isinstance(value, list | tuple | dict) and value:
        first = next(iter(value.values())) if isinstance(value, dict) else value[0]
        return f"({kind(first)}"
    return "0"
