"""Options that change a shape: another kernel, and a rectangle in place of a square."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from layersmith import runner
from layersmith.load.build import subject_of_class
from layersmith.registry import with_prerequisites


class PadsForAnotherKernel(nn.Module):
    def __init__(self, width: int = 4, kernel_size: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=kernel_size // 2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x)


class SquaresOnly(nn.Module):
    def __init__(self, width: int = 3, size: tuple[int, int] = (4, 4)) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width, size[0], size[0]))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain


class PadsForItsKernel(nn.Module):
    """Another kernel, none, and planes that are no squares."""

    def __init__(self, width: int = 4, kernel_size: int | None = 3, size: tuple[int, int] = (9, 9)) -> None:
        super().__init__()
        kernel = 1 if kernel_size is None else kernel_size
        self.conv = nn.Conv2d(width, width, kernel, padding=kernel // 2)
        self.gain = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) * self.gain.mean()


def messages(cls: type[nn.Module], inputs: Tensor) -> list[str]:
    subject = subject_of_class(cls, inputs=inputs)
    found = runner.run(subject, with_prerequisites(["argument-crashes"]))
    return [finding.message for result in found for finding in result.findings]


def test_padding_for_a_kernel_that_the_layer_has_not_got_is_reported() -> None:
    assert any(
        "(a kernel): forward raised" in one
        for one in messages(PadsForAnotherKernel, torch.randn(2, 4, 9, 11))
    )


def test_a_square_is_tried_as_a_rectangle_with_planes_to_match() -> None:
    found = messages(SquaresOnly, torch.randn(2, 3, 4, 4))
    assert any("SquaresOnly(size=(4, 8)) (a rectangle): forward raised" in one for one in found)


def test_what_follows_its_kernel_and_its_size_is_not_reported() -> None:
    assert not messages(PadsForItsKernel, torch.randn(2, 4, 9, 11))
