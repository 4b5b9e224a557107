"""What authors state beside the usual promises: contracts are read, refused when wrong, and falsified."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import layersmith
from layersmith import registry
from layersmith.errors import UsageError
from layersmith.finding import Outcome, Result
from layersmith.nn.linear import example as linear
from layersmith.nn.scaled_relu import example as scaled_relu
from layersmith.promises import Contract
from layersmith.runner import run
from layersmith.subject import Subject

PROMISES = tuple(rule for rule in registry.all_rules() if rule.group == "promises")


def results(subject: Subject) -> dict[str, Result]:
    return {result.rule: result for result in run(subject, PROMISES)}


def test_the_layers_keep_what_they_promise() -> None:
    for subject, kept in ((linear(), {"affine", "shape"}), (scaled_relu(), {"homogeneous"})):
        found = results(subject)
        assert {name for name, result in found.items() if result.outcome is Outcome.PASS} == kept
        assert {result.why for name, result in found.items() if name not in kept} == {"not promised"}


def test_what_is_not_promised_is_not_asked_and_nothing_is_built() -> None:
    def build(_: int) -> nn.Module:
        raise AssertionError("built")

    found = results(Subject("Nothing", build, lambda _: build(0)))  # type: ignore[arg-type, return-value]
    assert {result.outcome for result in found.values()} == {Outcome.SKIP}


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"lipshitz": 1.0}, "did you mean 'lipschitz'"),
        ({"causal": True}, "an axis, such as causal=1"),
        ({"odd": False}, "odd=True"),
        ({"range": (1, 0)}, "two numbers in order"),
        ({"range": 1}, "two numbers"),
        ({"monotone": "up"}, 'monotone="increasing" or monotone="decreasing"'),
        ({"lipschitz": 0}, "a positive number"),
        ({"shape": "b t d"}, 'shape="b t d -> b t h"'),
        ({"shape": "b t-d -> b"}, "not 't-d'"),
        ({"equivariant": torch.neg}, "two functions"),
    ],
)
def test_a_wrong_contract_is_refused_and_says_what_is_wanted(declared: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("(", r"\(")):
        registry.require_sound(Contract(declared=declared))


def test_check_refuses_a_wrong_contract() -> None:
    @layersmith.contract(odd="yes")
    class Wrong(nn.Identity):
        pass

    with pytest.raises(UsageError, match="odd=True"):
        layersmith.check(Wrong, torch.randn(2, 3))


def test_the_counterexample_is_small() -> None:
    @layersmith.contract(range=(0, 1))
    class Overshoots(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sigmoid() + 0.001 * x.relu()

    report = layersmith.check(Overshoots, torch.randn(64, 8, 10), select=["range"])
    message = report.subjects[0].results[-1].findings[0].message
    assert message.startswith("Overshoots leaves its range [0, 1]: an output is 1.0")
    assert len(message) < 140


@layersmith.contract(shape="b t d, b t -> b d")
class PoolsByWeight(nn.Module):
    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        return (x * weights.unsqueeze(-1)).sum(1)


def test_shapes_of_several_inputs() -> None:
    report = layersmith.check(PoolsByWeight, (torch.randn(3, 5, 4), torch.rand(3, 5)), select=["shape"])
    assert report.ok
    report = layersmith.check(PoolsByWeight, (torch.randn(3, 5, 4), torch.rand(3, 1)), select=["shape"])
    assert "t is 1, not 5" in report.subjects[0].results[-1].findings[0].message


def test_causal_asks_future_leak_too() -> None:
    @layersmith.contract(causal=1)
    class DependsOnTheLength(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.cumsum(1) / x.shape[1]

    report = layersmith.check(DependsOnTheLength, torch.randn(3, 6, 4), select=["sequence"])
    found = {result.rule: result for result in report.subjects[0].results}
    assert "it depends on the length" in found["future-leak"].findings[0].message
