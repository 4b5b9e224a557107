"""What a causal module shows beside its output, or draws as it goes, is no leak of the future."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from layersmith import runner
from layersmith.probe.inputs import Inputs
from layersmith.registry import load
from layersmith.subject import Subject


class CausalShowsItsScores(nn.Module):
    """What step 1 would give step 6 is of both: it may be shown, and is hidden before it counts."""

    def __init__(self, *, masked: bool = True) -> None:
        super().__init__()
        self.qkv, self.masked = nn.Linear(6, 18), masked

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        scores = q @ k.mT / 6**0.5
        hidden = torch.ones_like(scores, dtype=torch.bool).triu(1)
        hidden &= torch.tensor(self.masked)
        return scores.masked_fill(hidden, float("-inf")).softmax(-1) @ v, scores


class CausalDraws(nn.Module):
    def __init__(self, *, masked: bool = True, noise: float = 1.0) -> None:
        super().__init__()
        self.linear, self.masked, self.noise = nn.Linear(6, 6), masked, noise

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(x)
        before = x.cumsum(1) if self.masked else x + x.mean(1, keepdim=True)
        return before + self.noise * torch.rand_like(before)


def asked(cls: type[nn.Module], **arguments: object) -> list[str]:
    x = torch.randn(3, 7, 6, generator=torch.Generator().manual_seed(0))
    subject = Subject(cls.__name__, lambda _: cls(**arguments), lambda _: Inputs((x.clone(),)))
    return [one.message for one in runner.ask(subject, load("future-leak")).findings]


def test_scores_of_steps_against_steps_may_be_shown() -> None:
    assert not asked(CausalShowsItsScores)
    assert asked(CausalShowsItsScores, masked=False)


class CausalWithNullKey(CausalShowsItsScores):
    """The first key is nobody's."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        k, v = (nn.functional.pad(one, (0, 0, 1, 0)) for one in (k, v))
        scores = q @ k.mT / 6**0.5
        hidden = torch.ones_like(scores, dtype=torch.bool).triu(2)
        return scores.masked_fill(hidden, float("-inf")).softmax(-1) @ v, scores


def test_a_key_of_nobodys_may_come_first() -> None:
    assert not asked(CausalWithNullKey)


def test_fewer_steps_may_draw_other_numbers() -> None:
    assert not asked(CausalDraws)
    assert asked(CausalDraws, masked=False)


def test_a_draw_that_moves_the_output_a_little_is_no_draw_for_nothing() -> None:
    x = torch.randn(3, 7, 6, generator=torch.Generator().manual_seed(0))
    for noise, is_told in ((5e-5, False), (0.0, True)):
        build = functools.partial(CausalDraws, noise=noise)
        subject = Subject("draws", lambda _, build=build: build(), lambda _: Inputs((x.clone(),)))  # type: ignore[misc]
        assert bool(runner.ask(subject, load("consumes-rng-in-eval")).findings) == is_told
