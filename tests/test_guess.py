"""A call that is but a guess is asked only what does not depend on it."""

from __future__ import annotations

from torch import Tensor, nn

from layersmith.finding import Outcome
from layersmith.load.build import subject_of_class
from layersmith.registry import with_prerequisites
from layersmith.runner import run


class Wrapped(nn.Module):
    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        return self.fn(x) - x.mean(0)


def test_rules_that_depend_on_the_call_have_no_say_about_a_guess() -> None:
    subject = subject_of_class(Wrapped)
    assert subject.doubt == "fn is a stand-in"
    assert "a guess: fn is a stand-in" in subject.inferred_from
    results = {
        result.rule: result for result in run(subject, with_prerequisites(("batch-leak", "input-modified")))
    }
    assert results["batch-leak"].outcome is Outcome.SKIP
    assert results["batch-leak"].why == "the call is but a guess: fn is a stand-in"
    assert results["input-modified"].outcome is Outcome.PASS
