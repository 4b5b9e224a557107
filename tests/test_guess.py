"""A call that is but a guess is asked only what does not depend on it."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from layersmith import runner
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


class Crosses(nn.Module):
    """Whatever stands in for the attention cannot know that it is to use both."""

    def __init__(self, cross_attention: nn.Module, width: int) -> None:
        super().__init__()
        self.cross_attention = cross_attention
        self.project = nn.Linear(width, width)

    def forward(self, x: Tensor, cross: Tensor) -> Tensor:
        return x + self.cross_attention(x, self.project(cross))


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


class Router(nn.Module):
    """Keeps all steps as long as they are few."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.score = nn.Linear(dim, 1)

    def forward(self, x: Tensor, kept: int) -> Tensor:
        return torch.ones_like(x[..., :1]) if x.shape[1] <= kept else self.score(x).sigmoid()


class Routes(nn.Module):
    def __init__(self, dim: int, kept: int = 16) -> None:
        super().__init__()
        self.kept = kept
        self.router = Router(dim)
        self.layer = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x * self.router(x, self.kept))


class NeverRoutes(Routes):
    def forward(self, x: Tensor) -> Tensor:
        self.router(x, self.kept)
        return self.layer(x)


def test_what_waits_for_more_steps_than_inference_gave_is_used() -> None:
    rules = with_prerequisites(("unused-parameter",))
    found = {cls: list(run(subject_of_class(cls), rules))[-1] for cls in (Routes, NeverRoutes)}
    assert {cls: one.outcome for cls, one in found.items()} == {
        Routes: Outcome.PASS,
        NeverRoutes: Outcome.FAIL,
    }


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


class KeepsTheBest(nn.Module):
    def __init__(self, dim: int, *, best: bool = False) -> None:
        super().__init__()
        self.layer = nn.Linear(dim, dim)
        self.best = best

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x.transpose(1, 2).transpose(1, 2))
        return y * _best(y, 8) if self.best else y


def _best(y: Tensor, count: int) -> Tensor:
    return y.topk(count, dim=1).values.mean(1, keepdim=True)


def test_an_option_that_wants_more_steps_than_inference_gave_is_no_crash() -> None:
    subject = subject_of_class(KeepsTheBest)
    assert "f32[5,7,32]" in subject.inferred_from
    assert list(run(subject, with_prerequisites(("argument-crashes",))))[-1].outcome is Outcome.PASS


class SortsBuckets(nn.Module):
    """Of a single bucket there is nothing to sort."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.layer = nn.Linear(dim, dim)

    def forward(self, x: Tensor, keys: Tensor) -> Tensor:
        buckets = keys[:, : keys.shape[1] // 8 * 8].unflatten(1, (-1, 8)).mean(2)
        return self.layer(x) * (1 + buckets.sum(1, keepdim=True))


def test_an_input_that_counts_in_longer_calls_is_not_ignored() -> None:
    subject = subject_of_class(SortsBuckets)
    assert "f32[5,7,32], f32[5,7,32]" in subject.inferred_from
    assert list(run(subject, with_prerequisites(("ignored-input",))))[-1].outcome is Outcome.PASS


def test_what_a_stand_in_drops_is_not_held_against_a_module() -> None:
    subject = subject_of_class(Crosses)
    assert subject.doubt
    found = {
        result.rule: result.outcome
        for result in run(subject, with_prerequisites(("ignored-input", "no-gradient")))
    }
    assert found["ignored-input"] is found["no-gradient"] is Outcome.SKIP


class Modulates(nn.Module):
    """The condition is made for rows of steps; a row of features was never meant."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim, 2 * dim)

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        gamma, beta = self.proj(cond).reshape(-1, 1, 2 * x.shape[-1]).chunk(2, -1)
        return x * gamma + beta


def test_an_input_with_an_axis_too_few_is_the_guess_of_ours() -> None:
    rule = with_prerequisites(["silent-broadcast"])[-1]
    guessed = subject_of_class(Modulates, inputs="f32[5,8], f32[5,8]")
    told = replace(guessed, inferred_from="")
    assert runner.ask(replace(guessed, inferred_from="names"), rule).outcome is not Outcome.FAIL
    assert runner.ask(told, rule).outcome is Outcome.FAIL
