"""Rounding is not a gap; anything more is; NaN is only like NaN."""

from __future__ import annotations

import pytest
import torch

from layersmith.probe.closeness import RELATIVE, gap, gaps


@pytest.mark.parametrize("dtype", [t for t in RELATIVE if not t.is_complex])
def test_rounding_is_no_gap_but_a_tenth_is(dtype: torch.dtype) -> None:
    x = torch.linspace(1, 2, 50).to(dtype)
    eps = torch.finfo(dtype).eps
    assert not gap(x, x * (1 + 4 * eps)).is_open
    assert gap(x, x * 1.25).is_open


def test_equal_infinities_and_nans_are_equal_and_others_are_not() -> None:
    x = torch.tensor([1.0, float("nan"), float("inf")])
    assert not gap(x, x.clone()).is_open
    assert gap(x, torch.tensor([1.0, 0.0, float("inf")])).is_open
    assert gap(x, torch.tensor([1.0, float("nan"), float("-inf")])).is_open


def test_integers_must_be_equal() -> None:
    assert gap(torch.tensor([1, 2]), torch.tensor([1, 3])).is_open


def test_another_shape_dtype_or_structure_is_a_gap() -> None:
    x = torch.ones(2)
    assert gap(x, torch.ones(3)).is_open
    assert gap(x, x.double()).is_open
    assert gaps({"a": x}, {"b": x})
    assert not gaps([x, {"y": x}], [x, {"y": x.clone()}])


def test_an_empty_tensor_is_close_to_an_empty_tensor() -> None:
    assert not gap(torch.ones(0), torch.ones(0)).is_open
