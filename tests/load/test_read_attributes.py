"""An argument that is a class of the same file, as only what is read of it tells."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from layersmith.load.build import subject_of_class


class Widens(nn.Module):
    widening = 2

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width * self.widening)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


class StacksBranches(nn.Module):
    """Which block it shall take only an attribute tells that is read of it far below."""

    def __init__(self, num_branches: int, blocks: Any, num_channels: Any) -> None:
        super().__init__()
        if num_branches != len(num_channels):
            raise ValueError(f"{num_branches} branches of {len(num_channels)} channels")
        self.branches = nn.ModuleList(self._branches(num_branches, blocks, num_channels))

    def _branches(self, count: int, block: Any, widths: Any) -> list[nn.Module]:
        return [self._branch(index, block, widths) for index in range(count)]

    def _branch(self, index: int, block: Any, widths: Any) -> nn.Module:
        narrows = nn.Linear(widths[index] * block.widening, widths[index])
        return nn.Sequential(block(widths[index]), narrows)

    def forward(self, x: Any) -> list[Tensor]:
        return [branch(one) for branch, one in zip(self.branches, x, strict=True)]


def test_a_class_is_found_by_what_is_read_of_it_far_below() -> None:
    subject = subject_of_class(StacksBranches)
    assert subject.construction is not None
    assert subject.construction.arguments["blocks"] is Widens
