"""Rows set aside, scaling that knows the training rows only, batches."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from layersmith.errors import UsageError
from layersmith.training import Dataset, load
from layersmith.training.split import Rows, split


def numbered(counts: list[int]) -> Dataset:
    """So many rows of each class; the only feature is the row's number."""
    y = torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])
    return Dataset("numbered", torch.arange(len(y)).float()[:, None], y, classes=tuple(range(len(counts))))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(4, 60), min_size=2, max_size=4), st.floats(0.2, 0.8), st.integers(0, 99))
def test_every_row_is_in_one_part_and_every_class_gives_its_share(
    counts: list[int], share: float, seed: int
) -> None:
    data = numbered(counts)
    parts = split(data, validation_share=share, seed=seed)
    numbers = torch.cat([parts.train.x, parts.validation.x]) * parts.scaling.x_std + parts.scaling.x_mean
    assert sorted(round(float(number)) for number in numbers) == list(range(sum(counts)))
    for label, count in enumerate(counts):
        assert int((parts.validation.y == label).sum()) == round(share * count)


def test_scaling_knows_the_training_rows_only() -> None:
    data = numbered([30, 50])
    parts = split(data)
    held_out = (parts.validation.x * parts.scaling.x_std + parts.scaling.x_mean).round().long()[:, 0]
    data.x[held_out] += 1e6  # the rows are chosen by class and seed, so these are held out again
    moved = split(data)
    assert moved.scaling.x_mean.equal(parts.scaling.x_mean)
    assert moved.scaling.x_std.equal(parts.scaling.x_std)
    assert moved.validation.x.min() > 1e3


def test_training_features_have_mean_0_and_deviation_1() -> None:
    x = torch.randn(80, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 20.0, 0.0]) + 5
    train = split(load((x, x[:, 0]))).train.x
    torch.testing.assert_close(train.mean(0), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(train.std(0, correction=0), torch.tensor([1.0, 1.0, 0.0]))


def test_pixels_share_one_deviation() -> None:
    parts = split(load("digits"))
    assert len(parts.scaling.x_std.unique()) == 1
    torch.testing.assert_close(parts.train.x.mean(0), torch.zeros(64), atol=1e-4, rtol=0)
    torch.testing.assert_close(parts.train.x.var(0, correction=0).mean(), torch.tensor(1.0))


def test_targets_of_a_regression_are_scaled_and_come_back() -> None:
    x, y = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)), torch.arange(100.0).reshape(50, 2)
    parts = split(load((x, y)))
    torch.testing.assert_close(parts.train.y.std(0, correction=0), torch.ones(2))
    torch.testing.assert_close(parts.scaling.outputs(parts.scaling.targets(y)), y)


def test_the_seed_decides() -> None:
    data = load("digits")
    first, again, other = (split(data, seed=seed).validation.y for seed in (3, 3, 4))
    assert first.equal(again)
    assert not first.equal(other)


def test_a_default_device_of_the_users_does_not_matter() -> None:
    with torch.device("meta"):
        parts = split(load("digits"))
        shuffled = parts.train.shuffled(torch.Generator().manual_seed(0))
    assert shuffled.x.device == parts.scaling.x_mean.device == torch.device("cpu")


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan")])
def test_a_share_outside_0_to_1_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        split(load("digits"), validation_share=share)


def test_a_part_without_rows_is_refused() -> None:
    with pytest.raises(UsageError, match="leaves 0 to judge by and 9 to learn from"):
        split(numbered([5, 4]), validation_share=0.01)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 200), st.integers(1, 70))
def test_batches_hold_all_rows_in_order_and_are_equal(count: int, size: int) -> None:
    rows = Rows(torch.arange(count).float()[:, None], torch.arange(count))
    batches = rows.batches(size)
    assert torch.cat([batch.y for batch in batches]).equal(rows.y)
    lengths = [len(batch) for batch in batches]
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1
    assert len(batches) == -(-count // size)


def test_shuffled_rows_keep_their_targets() -> None:
    rows = Rows(torch.arange(20).float()[:, None], torch.arange(20))
    shuffled = rows.shuffled(torch.Generator().manual_seed(1))
    assert not shuffled.y.equal(rows.y)
    assert shuffled.x[:, 0].long().equal(shuffled.y)
