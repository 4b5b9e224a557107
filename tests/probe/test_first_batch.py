"""Modules that take their first values from a batch are judged when they have seen one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from layersmith.finding import Outcome
from layersmith.load.build import subject_of_class, subject_of_object
from layersmith.probe.first_batch import first_mode
from layersmith.probe.inputs import Inputs
from layersmith.registry import with_prerequisites
from layersmith.runner import run


class ActNorm(nn.Module):
    """Sets scale and shift from the first batch, in whatever mode; a flag in the state says that it has."""

    is_set: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(6)), nn.Parameter(torch.zeros(6))
        self.register_buffer("is_set", torch.zeros((), dtype=torch.bool))

    def forward(self, x: Tensor) -> Tensor:
        if not self.is_set:
            with torch.no_grad():
                self.scale.copy_(1 / x.std(0))
                self.shift.copy_(-x.mean(0))
                self.is_set.fill_(1)
        return (x + self.shift) * self.scale


class RefusesToBegin(ActNorm):
    """Wants its first batch in train mode, as Glow's do."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.is_set and not self.training:
            raise ValueError("in eval mode, but not initialised")
        return super().forward(x)


class AlwaysSets(ActNorm):
    """Forgets to look at its flag."""

    def forward(self, x: Tensor) -> Tensor:
        self.is_set.zero_()
        return super().forward(x + self.shift)


class Counts(nn.Module):
    steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        self.steps += 1
        return x / self.steps


@pytest.mark.parametrize(
    ("cls", "mode"), [(ActNorm, False), (RefusesToBegin, True), (AlwaysSets, None), (Counts, None)]
)
def test_a_flag_that_stays_set_tells_a_beginning_from_what_changes_for_ever(
    cls: type[nn.Module], mode: bool | None
) -> None:
    assert first_mode(cls, Inputs((torch.randn(4, 6),))) is mode


def test_what_begins_in_train_mode_is_called_and_judged() -> None:
    subject = subject_of_class(RefusesToBegin, seconds=20)
    assert subject.inferred_from
    results = run(subject, with_prerequisites(("forward-raises", "batch-leak", "call-history")))
    assert {result.outcome for result in results} <= {Outcome.PASS, Outcome.SKIP}


def test_no_row_leaks_and_no_call_is_remembered_where_only_the_first_batch_initialises() -> None:
    rules = with_prerequisites(("batch-leak", "call-history", "state-changes-in-eval"))
    subject = subject_of_object(ActNorm(), Inputs((torch.randn(4, 6),)))
    assert {result.outcome for result in run(subject, rules)} <= {Outcome.PASS, Outcome.SKIP}
    subject = subject_of_object(AlwaysSets(), Inputs((torch.randn(4, 6),)))
    assert Outcome.FAIL in {result.outcome for result in run(subject, rules)}


class ForgetsThatItHas(ActNorm):
    """Its flag is a plain attribute: what is loaded is overwritten by the next batch."""

    def __init__(self) -> None:
        super().__init__()
        del self.is_set
        self.initialized = False

    def forward(self, x: Tensor) -> Tensor:
        if not self.initialized:
            with torch.no_grad():
                self.scale.copy_(1 / x.std(0))
                self.shift.copy_(-x.mean(0))
            self.initialized = True
        return (x + self.shift) * self.scale


def test_a_plain_flag_is_lost_with_the_state_and_is_no_batch_leak() -> None:
    subject = subject_of_object(ForgetsThatItHas(), torch.randn(4, 6))
    results = run(subject, with_prerequisites(["batch-leak", "state-dict-loss"]))
    failed = {result.rule for result in results if result.outcome is Outcome.FAIL}
    assert failed == {"state-dict-loss"}
