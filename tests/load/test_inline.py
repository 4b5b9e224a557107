"""Waivers in comments of the class statement."""

from __future__ import annotations

import pytest
from torch import Tensor, nn

import layersmith
from layersmith.errors import UsageError
from layersmith.load import inline


class Plain(nn.Module):
    # layersmith: allow nothing
    def forward(self, x: Tensor) -> Tensor:
        return x


class Contrast(
    nn.Module
):  # layersmith: allow batch-leak, state-dict-loss because rows are compared, by design
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0)


@layersmith.contract(waive={"batch-leak": "x"})  # layersmith: allow independent-calls because it is a cache
class Several(
    nn.Module,  # Layersmith:allow strided-input because no one does
):
    """A docstring is part of the body."""


def test_rules_are_waived_with_their_reason() -> None:
    reason = "rows are compared, by design"
    assert inline.waivers(Contrast) == {"batch-leak": reason, "state-dict-loss": reason}
    assert inline.waivers(Several) == {
        "independent-calls": "it is a cache",
        "strided-input": "no one does",
    }


def test_a_comment_in_the_body_says_nothing() -> None:
    assert "nothing" not in inline.waivers(Several)


class Unreasoned(nn.Module):  # layersmith: allow batch-leak
    def forward(self, x: Tensor) -> Tensor:
        return x


class Unread(nn.Module):  # layersmith: ignore batch-leak
    def forward(self, x: Tensor) -> Tensor:
        return x


@pytest.mark.parametrize(("cls", "said"), [(Unreasoned, "needs a reason"), (Unread, "cannot be read")])
def test_a_mistake_names_its_line(cls: type, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        inline.waivers(cls)
    assert "test_inline.py:" in str(caught.value)


def test_a_comment_counts_in_python_too() -> None:
    report = layersmith.check(Contrast, select=["batch-leak"], ignore=["compile"])
    assert report.ok
