"""Classes that a decorator makes of another, under its name: each is read where it is written."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from layersmith.probe import parameters, source


def transposable(cls: type[nn.Module]) -> type[nn.Module]:
    @functools.wraps(cls, updated=())
    class Transposable(cls):  # type: ignore[misc, valid-type]
        def __init__(self, *args: int, transposed: bool = False, forgotten: bool = False) -> None:
            super().__init__(*args)
            self.transposed = transposed
            self.forgotten = forgotten

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.mT).mT if self.transposed else super().forward(x)

    return Transposable


@transposable
class Mixes(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x)
        return y


def test_what_the_decorators_own_class_reads_counts() -> None:
    assert Mixes.__qualname__ == "Mixes"
    node = source.class_node(Mixes)
    assert node is not None
    assert node.name == "Transposable"
    assert source.class_line(Mixes)[1] > node.lineno  # where the user's class stands
    assert [one.name.upper() for one in parameters.idle(Mixes)] == ["FORGOTTEN"]
    assert Mixes(6).eval()(torch.randn(4, 6)).shape == (4, 6)
