"""A class that forgets `super().__init__()` is built as if it did not, unless one asks for it as it is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from layersmith.load.constructor.search import construct


class Late(nn.Module):
    def __init__(self, width: int = 4) -> None:
        self.first = nn.Linear(width, width)
        super().__init__()
        self.second = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


def test_it_is_built_with_all_its_submodules() -> None:
    module = construct(Late, {})
    assert [name for name, _ in module.named_children()] == ["first", "second"]
    assert module(torch.zeros(2, 4)).shape == (2, 4)


def test_it_is_not_built_where_that_is_the_question() -> None:
    with pytest.raises(AttributeError, match=r"before Module.__init__\(\) call"):
        construct(Late, {}, is_forgiving=False)
