"""Of the calls that work one is better: in train mode, too, and with an answer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from layersmith.load.build import subject_of_class
from layersmith.load.call.alike import fails_alike
from layersmith.load.unbuildable import Unbuildable


class DropsSteps(nn.Module):
    """Only train mode says that steps have features."""

    def forward(self, x: Tensor) -> Tensor:
        return _half(x) if self.training else x


def _half(x: Tensor) -> Tensor:
    kept = torch.rand(x.shape[:2], device=x.device).argsort(1)[:, : x.shape[1] // 2]
    return x.gather(1, kept.unsqueeze(-1).expand((-1, -1, *x.shape[2:])))


class NeverTrains(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flip() if self.training else x)


def test_a_call_that_works_in_both_modes_is_preferred() -> None:
    assert "f32[5,7," in subject_of_class(DropsSteps).inferred_from


def test_a_module_that_always_fails_in_train_mode_is_called_as_in_eval_mode() -> None:
    assert subject_of_class(NeverTrains).inferred_from.startswith("NeverTrains(32)(f32[5,7,32])")


class NormalisesEach(nn.GroupNorm):
    """As many groups as channels: of one number in each nothing is left."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels)


def test_a_call_whose_answer_is_no_more_than_zero_gets_steps() -> None:
    assert subject_of_class(NormalisesEach).inferred_from.startswith("NormalisesEach(32)(f32[5,32,7])")


class HandsOnWhatElseItGets(nn.Module):
    def forward(self, x: Tensor, **kwargs: Tensor) -> Tensor:
        return self._turned(x, **kwargs)

    def _turned(self, x: Tensor, *, rotation: Tensor) -> Tensor:
        return x @ rotation


def test_what_a_caller_must_hand_through_is_no_fault_of_the_code() -> None:
    with pytest.raises(Unbuildable):
        subject_of_class(HandsOnWhatElseItGets)


class SpreadsItsState(nn.Module):
    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        return self._step(x, *state)

    def _step(self, x: Tensor, hidden: Tensor, cell: Tensor) -> Tensor:
        return x + hidden + cell


def _error(rows: int) -> Exception:
    with pytest.raises(TypeError) as caught:
        SpreadsItsState()(torch.ones(3), torch.ones(rows, 3))
    return caught.value


def test_how_many_values_an_input_is_spread_to_is_no_fault_of_the_code() -> None:
    errors = [_error(rows) for rows in (5, 6, 7)]
    assert not fails_alike(errors, [[]] * 3, errors[-1])


def test_a_clash_is_no_fault_of_the_code_where_another_input_came_further() -> None:
    clashes: list[Exception] = [_clash() for _ in range(3)]
    assert fails_alike(clashes, [[]] * 3, clashes[0])
    assert not fails_alike(clashes, [[]] * 3, ValueError("cannot divide an axis of 2 by 7"))


def _clash() -> RuntimeError:
    with pytest.raises(RuntimeError) as caught:
        torch.conv1d(torch.ones(2, 7, 5), torch.ones(4, 3, 1))
    return caught.value


class ScoresRows(nn.Module):
    """obs: (batch, features), returns: (batch,)"""

    def __init__(self, features: int = 6) -> None:
        super().__init__()
        self.value = nn.Linear(features, 1)

    def forward(self, obs: Tensor, returns: Tensor) -> Tensor:
        return (self.value(obs) - returns).square().mean()


def test_an_input_that_is_said_to_have_one_axis_gets_one() -> None:
    assert "f32[5,6], f32[5])" in subject_of_class(ScoresRows).inferred_from


class ScalesByKind(nn.Module):
    def __init__(self, features: int = 6, kinds: int = 4) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(kinds, features))

    def forward(self, x: Tensor, kind: Tensor) -> Tensor:
        """Scale rows.

        Args:
            x (torch.Tensor): The input features.
            kind (torch.Tensor): A vector that maps each entry to a kind.
        """
        return x * self.scale[kind]


def test_what_is_said_to_be_a_vector_is_one() -> None:
    assert ", i64[5]<4)" in subject_of_class(ScalesByKind).inferred_from


class JoinsItsGroups(nn.Module):
    def __init__(self, dim: int = 32, groups: int = 4) -> None:
        super().__init__()
        self.groups, self.w = groups, nn.Parameter(torch.randn(groups, dim // groups, dim // groups))

    def forward(self, x: Tensor) -> Tensor:
        b = x.shape[0]
        x = x.view(b, self.groups, -1)
        return torch.einsum("bgi,gio->bgo", x, self.w).reshape(b, -1)


def test_the_rest_of_a_reshape_is_no_size() -> None:
    assert subject_of_class(JoinsItsGroups).inferred_from


class AddsToScores(nn.Module):
    """Its last axes are named, and none of them is the batch."""

    def forward(self, scores: Tensor) -> Tensor:
        h, i, j, device = *scores.shape[-3:], scores.device
        return scores + torch.zeros(h, i, j, device=device)


class SqueezesWithin(nn.Module):
    """Of a ratio it wants a share; by its name it may be anything."""

    def __init__(self, dim: int, se_ratio: float) -> None:
        super().__init__()
        self.gate = nn.Linear(dim, dim) if 0.0 < se_ratio <= 1.0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x).sigmoid()


def test_a_number_is_one_of_those_that_the_constructor_asks_for() -> None:
    assert subject_of_class(SqueezesWithin).inferred_from.startswith("SqueezesWithin(32, 1.0)(")


class AddsToRows(nn.Module):
    def forward(self, scores: Tensor) -> Tensor:
        b, i, j = scores.shape[-3:]
        return scores + torch.zeros(b, i, j).to(scores)


def test_a_batch_comes_before_the_last_axes() -> None:
    assert subject_of_class(AddsToScores).inferred_from.startswith("AddsToScores()(f32[5,7,11,13])")
    assert subject_of_class(AddsToRows).inferred_from.startswith("AddsToRows()(f32[5,7,32])")
