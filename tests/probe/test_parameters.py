"""What becomes of a constructor's parameters: read from source, anything that may have an effect counts as one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from layersmith.probe import options, parameters


class Plain(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


class OnlyDefaulted(Plain):
    def __init__(self, width: int = 4, inner: int | None = None) -> None:
        super().__init__()
        if inner is None:
            inner = 2 * width
        self.linear = nn.Linear(width, width)


class OnlyChecked(Plain):
    def __init__(self, width: int = 4, heads: int = 2) -> None:
        super().__init__()
        if width % heads:
            raise ValueError("width must be a multiple of heads")
        self.linear = nn.Linear(width, width)


class RefusesAllButOne(Plain):
    def __init__(self, width: int = 4, padding: str = "zeros") -> None:
        super().__init__()
        if padding != "zeros":
            raise ValueError("only zeros")
        self.linear = nn.Linear(width, width)


class HandsItselfOut(Plain):
    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        vars(self)["seen"] = True


class FixedForItsBase(nn.Conv2d):
    def __init__(self, width: int, out: int, kernel_size: int = 3, stride: int = 1, padding: int = 0) -> None:
        super().__init__(width, out, kernel_size, stride, 0)


class FillsItsScaleAnew(Plain):
    def __init__(self, width: int = 4, scale: float = 0.5) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((width,), scale))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.ones_(self.scale)


class FillsItsScaleWithIt(Plain):
    def __init__(self, width: int = 4, start: float = 0.5) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((width,), start))
        self.gain = nn.Parameter(torch.empty(width))
        self.first = float(self.scale[0])
        nn.init.constant_(self.gain, 2.0)
        nn.init.ones_(self.scale)


class ShownOnly(Plain):
    def __init__(self, rate: float = 0.1) -> None:
        super().__init__()
        self.rate = rate

    def extra_repr(self) -> str:
        return f"rate={self.rate}"


@pytest.mark.parametrize(
    ("cls", "names"),
    [
        (OnlyDefaulted, ["inner"]),
        (OnlyChecked, ["heads"]),
        (RefusesAllButOne, []),
        (HandsItselfOut, []),
        (FixedForItsBase, []),
        (FillsItsScaleAnew, ["scale"]),
        (FillsItsScaleWithIt, []),
        (ShownOnly, ["-rate"[1:]]),  # a text of that name would count as a reading
        (nn.Conv2d, []),
        (nn.MultiheadAttention, []),
    ],
)
def test_a_parameter_is_idle_when_nothing_can_depend_on_it(cls: type, names: list[str]) -> None:
    assert [one.name for one in parameters.idle(cls)] == names


def test_options_come_from_defaults_flags_and_what_the_source_compares() -> None:
    found = {
        (one.name, one.value)
        for one in options.options(nn.TransformerEncoderLayer, {"d_model": 8, "nhead": 2})
    }
    assert {("norm_first", True), ("bias", False), ("dropout", 0.0), ("d_model", 9)} <= found
