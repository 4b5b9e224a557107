"""What was written down is built and called again, or it is said why not."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from layersmith.load.build import subject_of_class
from layersmith.load.hint import Stale
from layersmith.load.strategy import Said
from layersmith.subject import Subject


class Block(nn.Module):
    def __init__(self, dim: int, *widths: int, act: Any = nn.ReLU, heads: int = 4, **more: Any) -> None:
        super().__init__()
        self.map, self.act, self.heads, self.more = nn.Linear(dim, dim), act(), heads, more

    def forward(self, x: Tensor, mask: Tensor | None = None, *, pair: Any = None) -> Tensor:
        return self.act(self.map(x)) if mask is None else self.map(x) * mask


class Pair(NamedTuple):
    left: Tensor
    right: int


def hinted(text: str) -> Subject:
    return subject_of_class(Block, said=Said((text,)))


@pytest.mark.parametrize(
    "text",
    [
        "Block(8)(f32[2,8])",
        "Block(8, heads=2)(f32[2,8], mask=bool[2,8])",
        "Block(8, 1, 2, act=nn.GELU, more={'a': 1})(f32[2,8])",
        "Block(8, act=torch.nn.Identity)(x=f32[2,8])",
        "Block(8, extra=f32[3], other=nn.Linear(3, 3))(f32[2,8]<1, pair=Pair(f32[], 3))",
        "Block(dim=8)(f64[2,8].float())",
    ],
)
def test_a_notation_is_python_with_tensors_described(text: str) -> None:
    subject = hinted(text)
    one, same, other = subject.case(seed=1), subject.case(seed=1), subject.case(seed=2)
    assert one.module.get_parameter("map.weight").shape == (8, 8)
    assert torch.equal(one.run(), same.run())
    assert not torch.equal(one.run(), other.run())


def test_arguments_that_are_tensors_or_modules_are_made_afresh() -> None:
    subject = hinted("Block(8, extra=nn.Linear(3, 3))(f32[2,8], pair=Pair(f32[2], 3))")
    first, second = subject.case(), subject.case()
    assert vars(first.module)["more"]["extra"] is not vars(second.module)["more"]["extra"]
    assert isinstance(first.inputs.kwargs["pair"], Pair)
    assert subject.construction is not None
    assert subject.construction.arguments["dim"] == 8


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Block(8, nope=", "cannot be read"),
        ("Block(8)", "not of the form Block(...)(...)"),
        ("Block()(f32[2,8])", "missing a required argument: 'dim'"),
        ("Block(8)(f32[2,9])", "2x9 and 8x8"),
        ("Block(8, act=Nothing)(f32[2,8])", "Nothing raised"),
        ("Block(8)(f32[2,8], nothing=1)", "unexpected keyword argument 'nothing'"),
    ],
)
def test_a_hint_that_does_not_fit_is_an_error_that_says_how(text: str, said: str) -> None:
    with pytest.raises(Stale, match="no longer fits") as caught:
        hinted(text)
    assert said in caught.value.why


def test_a_locked_call_that_does_not_fit_is_looked_for_anew() -> None:
    said = Said(locked=("Block(8)(f32[2,9])",))
    assert "from names" in subject_of_class(Block, said=said).inferred_from
    assert "2x9 and 8x8" in said.misfits[0]


def test_inputs_of_the_user_go_before_those_of_a_hint() -> None:
    subject = subject_of_class(Block, inputs="f32[5,8]", said=Said(("Block(8)(f32[2,8])",)))
    assert subject.inferred_from.startswith("Block(8)(f32[5,8])")


def test_what_was_locked_says_where_it_came_from() -> None:
    call = "Block(8)(f32[2,8])"
    assert subject_of_class(Block, said=Said(locked=(call,))).inferred_from == f"{call} from layersmith.lock"
    assert (
        subject_of_class(Block, said=Said(locked=(call,), source="names")).inferred_from
        == f"{call} from names"
    )
