"""One call's arguments: given in any form, copied before each call."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from layersmith.errors import UsageError
from layersmith.probe.inputs import Inputs


class AddsInPlace(nn.Module):
    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        x += scale
        return x


def test_a_call_never_changes_the_inputs() -> None:
    inputs = Inputs.of({"x": torch.zeros(3), "scale": 2.0})
    assert inputs.call(AddsInPlace()).tolist() == [2.0, 2.0, 2.0]
    assert inputs.kwargs["x"].tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("given", "args", "kwargs"),
    [
        (torch.ones(1), 1, 0),
        ((torch.ones(1), 3), 2, 0),
        ([torch.ones(1)], 1, 0),
        ({"x": torch.ones(1)}, 0, 1),
        (Inputs((1, 2)), 2, 0),
    ],
)
def test_every_form_is_understood(given: object, args: int, kwargs: int) -> None:
    inputs = Inputs.of(given)
    assert (len(inputs.args), len(inputs.kwargs)) == (args, kwargs)


def test_anything_else_is_refused_with_what_was_given() -> None:
    with pytest.raises(UsageError, match=r"not str: 'f32\[2\]'"):
        Inputs.of("f32[2]")


def test_to_changes_floating_tensors_only() -> None:
    inputs = Inputs.of((torch.ones(1), torch.ones(1, dtype=torch.long))).to(torch.float64)
    assert [t.dtype for t in inputs.tensors()] == [torch.float64, torch.int64]


def test_names_say_which_argument() -> None:
    inputs = Inputs((torch.ones(1), [torch.ones(1)]), {"mask": torch.ones(1)})
    assert [name for name, _ in inputs.named_tensors()] == ["input[0]", "input[1][0]", "mask"]
