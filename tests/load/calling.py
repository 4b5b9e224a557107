"""A class called as it was found, which tests of inference share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from layersmith.load.build import subject_of_class


def called(cls: type[nn.Module]) -> tuple[nn.Module, tuple[Any, ...], Mapping[str, Any]]:
    """The module and the arguments of a call that went well, and was no mere guess, a stand-in apart."""
    subject = subject_of_class(cls)
    assert not subject.doubt or "stand-in" in subject.doubt
    module, inputs = subject.build(0), subject.inputs(0)
    inputs.call(module)
    return module, inputs.args, inputs.kwargs
