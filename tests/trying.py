"""The constructor's options of a class, tried by `argument-crashes`."""

from __future__ import annotations

from torch import Tensor, nn

from layersmith.finding import Finding, Result
from layersmith.probe.inputs import Inputs
from layersmith.promises import Contract
from layersmith.registry import with_prerequisites
from layersmith.runner import run
from layersmith.subject import Construction, Subject


def findings(cls: type[nn.Module], *inputs: Tensor) -> tuple[Finding, ...]:
    """What the rule says of the class, built with its defaults and called with the inputs."""
    return result(cls, *inputs).findings


def result(cls: type[nn.Module], *inputs: Tensor) -> Result:
    """How the rule ended on it."""
    return list(run(subject_of(cls, *inputs), with_prerequisites(("argument-crashes",))))[-1]


def subject_of(cls: type[nn.Module], *inputs: Tensor) -> Subject:
    """The class, built with its defaults."""
    return Subject(
        cls.__name__,
        lambda _: cls(),
        lambda _: Inputs(inputs),
        contract=Contract(),
        construction=Construction(cls, {}, lambda kind, given: kind(**given), f"{cls.__name__}()"),
    )
