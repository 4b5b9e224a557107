"""What is drawn anew: what a rule finds broken, what is broken in the same way, and nothing else."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from layersmith.load.build import subject_of_factory
from layersmith.promises import Contract
from layersmith.repair.diagnosis import broken
from layersmith.subject import Case


class Stack(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.third(torch.tanh(self.second(torch.tanh(self.first(x)))))
        return hidden


def case_of(start: object) -> Case:
    def build() -> Stack:
        model = Stack()
        for layer in (model.first, model.second):
            start(layer.weight)  # type: ignore[operator]
        return model

    return subject_of_factory(build, torch.randn(8, 16)).case()


def test_weights_that_lose_the_signal_are_drawn_together_and_the_others_kept() -> None:
    assert broken(case_of(lambda weight: nn.init.normal_(weight, std=1e-4))) == [
        "first.weight",
        "second.weight",
    ]


def test_a_sound_start_is_left_alone() -> None:
    assert broken(case_of(nn.init.xavier_normal_)) == []


def test_copies_are_drawn() -> None:
    assert "first.weight" in broken(case_of(lambda weight: nn.init.constant_(weight, 0.1)))


def test_what_is_waived_is_left_alone() -> None:
    case = case_of(lambda weight: nn.init.normal_(weight, std=3.0))
    assert broken(case)
    object.__setattr__(case.subject, "contract", Contract({"signal-preserved": "meant"}))
    assert broken(case) == []
