"""A call that is but a guess is asked only what does not depend on it."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from layersmith.finding import Outcome
from layersmith.load.build import subject_of_class
from layersmith.load.strategy import Said
from layersmith.registry import with_prerequisites
from layersmith.runner import run


class Wrapped(nn.Module):
    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        return self.fn(x) - x.mean(0)


class Bias(nn.Module):
    """Of how wide a spread its numbers are is the caller's business."""

    def __init__(self, dim_head: int, scale: float) -> None:
        super().__init__()
        self.table = nn.Parameter(scale * torch.randn(63, dim_head))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.table.mT


def test_a_spread_that_inference_chose_is_not_held_against_a_module() -> None:
    (rule,) = with_prerequisites(("exploding-signal",))[-1:]
    guessed = subject_of_class(Bias)
    said = subject_of_class(Bias, said=Said(("Bias(64, 1.0)(f32[4,64])",)))
    assert [one.outcome for one in run(guessed, (rule,))] == [Outcome.PASS]
    assert [one.outcome for one in run(replace(said, inferred_from=""), (rule,))] == [Outcome.FAIL]


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
