"""What was read off a random sample of repositories: settings in lists, odd sizes, code that no input can save."""

from __future__ import annotations

import ast
import io
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.autograd import Function

from layersmith import runner
from layersmith.load.build import subject_of_class
from layersmith.load.doubt import FAILS
from layersmith.registry import load


class OfLayerSettings(nn.Module):
    def __init__(self, layer_params: Any, in_channels: int) -> None:
        super().__init__()
        first = [nn.Conv2d(in_channels, one.filters, one.kernel_size) for one in layer_params[:1]]
        pairs = zip(layer_params[:-1], layer_params[1:], strict=True)  # noqa: RUF007 - of a list, as people write it
        rest = [nn.Conv2d(prev.filters, one.filters, one.kernel_size) for prev, one in pairs]
        self.net = nn.Sequential(*first, *rest)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Activated(nn.Module):
    def __init__(self, width: int, activation: Any = F.relu) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.activation(self.linear(x))
        return y


class HandsOnSettings(nn.Module):
    """Where a setting goes, a function is the default."""

    def __init__(self, params: dict[str, Any]) -> None:
        super().__init__()
        self.inner = Activated(params["width"], params["activation"])

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x)
        return y


class Plain(nn.Module):
    growth = 1

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x)
        return y


class ChoosesAClass(nn.Module):
    def __init__(self, block: type[Plain | Activated], width: int) -> None:
        super().__init__()
        self.block = block(width * block.growth)  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x)
        return y


class TakesFeaturesApart(nn.Module):
    def __init__(self, cnn: Any, feature_layer: int = 1) -> None:
        super().__init__()
        self.features = nn.Sequential(*list(cnn.features.children())[: feature_layer + 1])

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x)


class CountsInAMethod(nn.Module):
    def __init__(self, width: int, layer: int) -> None:
        super().__init__()
        self.width = width
        self.layer = layer
        self.__build__()

    def __build__(self) -> None:
        self.layers = nn.ModuleList(nn.Linear(self.width, self.width) for _ in range(self.layer))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class ReadsEmptyOptions(nn.Module):
    def __init__(self, opt: dict[str, Any] = {}) -> None:  # noqa: B006 - as people write it
        super().__init__()
        self.linear = nn.Linear(opt["dim_in"], opt["dim_out"])

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


class OfALongSignal(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(1, 4, 4)
        self.conv2 = nn.Conv1d(4, 16, 4)
        self.pool = nn.MaxPool1d(4, 2)
        self.head = nn.Linear(24_000, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.conv2(self.conv1(x).relu()).relu())
        return self.head(torch.flatten(x, 1))


class OfAFrame(nn.Module):
    """It sees 64 x 128."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.head = nn.Linear(16 * 13 * 29, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.conv1(x).relu(), 2)
        x = F.max_pool2d(self.conv2(x).relu(), 2)
        return self.head(x.flatten(1))


class LosesABorder(nn.Module):
    """Its sides shrink by so much that twice the features are far from twice the area."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(*[nn.Conv2d(1 if i == 0 else 4, 4, 5, padding=0) for i in range(4)])
        self.head = nn.Linear(4 * 12 * 12, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.net(x).flatten(1))


class AsksForARank(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        assert inputs.data.dim() == 4
        return inputs.reshape(inputs.size(0), -1)


class RepeatsSoOften(nn.Module):
    def forward(self, bn: Any) -> Tensor:
        return torch.eye(3).reshape(1, 3, 3).repeat(bn, 1, 1)


class OnACard(nn.Module):
    """Nobody has a device of that name."""

    def __init__(self, width: int, device: str = "gpu") -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.device = device

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x) * torch.ones(1, device=self.device)
        return y


class AsksForAnImage(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        if image.ndim not in {2, 3}:
            raise ValueError(f"image should be 2/3 dimensional. Got {image.ndim} dimensions.")
        return image.flip(-1)


class StartsAsIdentity(nn.Module):
    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(input_size, hidden_size)
        self.embedding.weight.data.copy_(torch.eye(hidden_size))

    def forward(self, x: Tensor) -> Tensor:
        return self.embedding(x)


def gram(x: Tensor) -> Tensor:
    batch, channels, height, width = x.size()
    flat = x.view(batch * channels, height * width)
    return flat @ flat.t() / flat.numel()


class StyleLoss(nn.Module):
    """Of the tutorial on neural style."""

    def __init__(self, target_feature: Tensor) -> None:
        super().__init__()
        self.target = gram(target_feature).detach()

    def forward(self, x: Tensor) -> Tensor:
        self.loss = (gram(x) - self.target).square().mean()
        return x


class WantsAllOptions(nn.Module):
    def __init__(self, vocab_size: Any = None, word_size: Any = None, hidden_size: int = 8) -> None:
        super().__init__()
        if vocab_size is None or word_size is None:
            raise ValueError("All of them.")
        self.embedding = nn.Embedding(vocab_size, word_size)
        self.linear = nn.Linear(word_size, hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(self.embedding(x))
        return y


class ReadsTexts(nn.Module):
    """Sizes written as Python would, and a window as wide as the longest sentence."""

    def __init__(self, params: dict[str, Any], vocab_size: int) -> None:
        super().__init__()
        width, longest = int(params["embedding_dim"]), int(params["max_sent_len"])
        self.words = nn.Embedding(vocab_size, width)
        sizes = ast.literal_eval(params["filter_sizes"])
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv1d(width, 4, size), nn.MaxPool1d(longest - size + 1)) for size in sizes
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.words(x).transpose(1, 2)
        return torch.cat([block(x) for block in self.blocks], 1).flatten(1)


class HidesPadding(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        y: Tensor = self.linear(x) - 1e4 * (1 - mask).unsqueeze(-1)
        return y


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (ReadsTexts, "'[2, 3]'"),
        (HidesPadding, "f32"),
        (StartsAsIdentity, "i64["),
        (StyleLoss, "f32[1,32,8,8]"),
        (WantsAllOptions, "word_size="),
        (OnACard, "device='cpu'"),
        (AsksForAnImage, "(f32["),
        (OfLayerSettings, "filters="),
        (HandsOnSettings, "activation=nn.GELU()"),
        (ChoosesAClass, "Plain"),
        (TakesFeaturesApart, "features="),
        (CountsInAMethod, ""),
        (ReadsEmptyOptions, "dim_in"),
        (OfALongSignal, "f32[5,1,30"),
        (OfAFrame, "64"),
        (LosesABorder, "28,28]"),
        (AsksForARank, "f32[5,7,11,13]"),
        (RepeatsSoOften, "(2)"),
    ],
)
def test_it_is_built_and_called(cls: type[nn.Module], said: str) -> None:
    subject = subject_of_class(cls)
    assert said in subject.inferred_from
    assert subject.doubt != FAILS


class _Legacy(Function):
    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return x


class CallsALegacyFunction(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = _Legacy()(x)
        return y


class UsesWhatNumpyDropped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        sizes = np.ones(2, dtype=np.int)  # type: ignore[attr-defined]  # noqa: NPY001 - that is the slip
        return self.linear(x) * float(sizes[0])


class CountsAQuotient(nn.Module):
    def __init__(self, factor: int = 4) -> None:
        super().__init__()
        self.factor = factor
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.factor / 2):  # type: ignore[call-overload]
            x = self.linear(x)
        return x


class TakesALayerApart(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.softmax = nn.Softmax(dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.softmax[self.linear(x)]  # type: ignore[index]
        return y


class WaitsForTheKeyboard(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        input(x.shape)
        return self.linear(x)


class ForgetsItsResult(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.features = nn.Linear(width, width)
        self.head = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> None:
        self.features.eval()
        x = self.features(x)
        x = self.head(x)


@pytest.mark.parametrize(
    "cls",
    [
        CallsALegacyFunction,
        UsesWhatNumpyDropped,
        CountsAQuotient,
        TakesALayerApart,
        ForgetsItsResult,
    ],
)
def test_what_no_input_can_save_is_told(cls: type[nn.Module]) -> None:
    subject = subject_of_class(cls)
    assert subject.doubt == FAILS
    assert runner.ask(subject, load("forward-raises")).findings


def test_a_forward_that_waits_for_the_keyboard_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert subject_of_class(WaitsForTheKeyboard).doubt == FAILS


class StartsAnother(nn.Module):
    def __init__(self, width: int) -> None:
        super(Plain, self).__init__()  # type: ignore[misc]
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x)
        return y


def test_a_constructor_that_starts_a_class_which_is_no_base_of_its_own_is_told() -> None:
    found = runner.ask(subject_of_class(StartsAnother), load("forward-raises")).findings
    assert ["obj must be an instance" in one.message for one in found] == [True]


class GivesALayerItsInput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return nn.Sigmoid(self.linear(x))  # type: ignore[return-value]


def test_a_layer_that_is_made_of_its_input_does_not_fit() -> None:
    from layersmith.rules.code.call_does_not_fit import calls_of

    [finding] = calls_of(GivesALayerItsInput)
    assert "nn.Sigmoid" in finding.message
