"""Data sets by name and from the user's own arrays."""

from __future__ import annotations

import sys
from importlib import resources

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from layersmith.errors import UsageError
from layersmith.training import load


def test_digits_are_the_uci_test_set() -> None:
    digits = load("digits")
    assert digits.x.shape == (1797, 64)
    assert (digits.features, digits.outputs, digits.task) == (64, 10, "classification")
    assert (float(digits.x.min()), float(digits.x.max())) == (0, 16)
    assert digits.y.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_digits_equal_those_of_scikit_learn() -> None:
    theirs = pytest.importorskip("sklearn.datasets").load_digits()
    digits = load("digits")
    assert np.array_equal(digits.x.numpy(), theirs.data)
    assert np.array_equal(digits.y.numpy(), theirs.target)


def test_digits_ship_with_their_source_and_licence() -> None:
    folder = resources.files("layersmith.training") / "data"
    assert len((folder / "digits.npz").read_bytes()) < 60_000
    readme = (folder / "README.md").read_text(encoding="utf-8")
    for text in ("CC BY 4.0", "10.24432/C50P49"):
        assert text in readme
    assert "CC BY 4.0" in load("digits").licence


def test_diabetes_is_a_regression() -> None:
    pytest.importorskip("sklearn")
    diabetes = load("diabetes")
    assert diabetes.x.shape == (442, 10)
    assert diabetes.y.shape == (442, 1)
    assert (diabetes.outputs, diabetes.task) == (1, "regression")


def test_diabetes_without_scikit_learn_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(UsageError, match=r"layersmith\[data\]"):
        load("diabetes")


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="'mnist'; choose digits or diabetes"):
        load("mnist")


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from([-1, 3, 7]), min_size=8).filter(lambda labels: len(set(labels)) > 1))
def test_labels_need_not_count_from_zero(labels: list[int]) -> None:
    data = load((torch.zeros(len(labels), 2), labels))
    assert [data.classes[index] for index in data.y] == labels
    assert data.outputs == len(set(labels))


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (["cat", "dog", "cat", "dog"], ("cat", "dog")),
        (torch.tensor([True, False, True, False]), (False, True)),
        (np.array([2, 2, 5, 5], dtype=np.uint8), (2, 5)),
    ],
)
def test_classes_can_be_text_booleans_or_any_integers(y: object, classes: tuple[object, ...]) -> None:
    assert load((np.ones((4, 3)), y)).classes == classes


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_floating_targets_are_a_regression(dtype: torch.dtype) -> None:
    x, y = torch.arange(8.0).reshape(4, 2).to(dtype), torch.ones(4, dtype=dtype, requires_grad=True)
    data = load((x, y))
    assert (data.task, data.outputs) == ("regression", 1)
    assert data.x.dtype == data.y.dtype == torch.float32
    assert not data.y.requires_grad


def test_rows_may_have_more_dimensions() -> None:
    data = load((torch.zeros(6, 3, 8, 8), [0, 1] * 3))
    assert data.features == 192


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.zeros(4), [0, 1, 0, 1], r"x \[4\] and y \[4\]"),
        (torch.zeros(4, 2), [0, 1, 0], r"x \[4, 2\] and y \[3\]"),
        (
            torch.tensor([[0.0, 1.0], [2.0, float("nan")]]),
            [0.5, 1.0],
            r"x is not finite in 1 places, first nan at \[1, 1\]",
        ),
        (torch.zeros(2, 2), [0.0, float("inf")], "y is not finite"),
        (torch.zeros(4, 2), [3, 3, 3, 3], r"one class only, \[3\]"),
        (torch.zeros(6, 2), [151, 75, 141, 206, 135, 97], "pass them as floats"),
        (torch.zeros(4, 2), torch.zeros(4, 3, dtype=torch.long), r"one a row, but y is \[4, 3\]"),
        ([["a", "b"], ["c", "d"]], [0, 1], "x must hold numbers"),
    ],
)
def test_arrays_that_cannot_be_learned_from_are_refused(x: object, y: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load((x, y))


def test_anything_else_is_refused() -> None:
    with pytest.raises(UsageError, match="a name or a pair"):
        load(torch.zeros(3))  # type: ignore[arg-type]
