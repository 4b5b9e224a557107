"""What classes of the names that repositories have most often showed: words one at a time, real arguments, tables."""

from __future__ import annotations

import bdb
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from layersmith import runner
from layersmith.load.attempt import ELEMENTS, OutOfBudget
from layersmith.load.build import subject_of_class
from layersmith.load.doubt import FAILS
from layersmith.load.unbuildable import Unbuildable
from layersmith.registry import load
from tests.load.calling import called

START, STOP = "<START>", "<STOP>"


class OneWordAtATime(nn.Module):
    """The decoder of a well-known tutorial."""

    def __init__(self, hidden_size: int, output_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(output_size, hidden_size)
        self.gru = nn.GRU(hidden_size, hidden_size)
        self.out = nn.Linear(hidden_size, output_size)

    def forward(self, input: Tensor, hidden: Tensor) -> Any:  # noqa: A002
        output = F.relu(self.embedding(input).view(1, 1, -1))
        output, hidden = self.gru(output, hidden)
        return F.log_softmax(self.out(output[0]), dim=1), hidden


def test_one_word_whose_features_are_laid_in_one_line() -> None:
    _, args, _ = called(OneWordAtATime)
    assert args[0].shape == (1,)


class ScoresOneByOne(nn.Module):
    """Attention of one sentence, a product of two vectors for each of its steps."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.attn = nn.Linear(hidden_size, hidden_size)

    def forward(self, hidden: Tensor, encoder_outputs: Tensor) -> Tensor:
        scores = [hidden.squeeze(0).dot(self.attn(step).squeeze(0)) for step in encoder_outputs]
        return F.softmax(torch.stack(scores), dim=0)


class ScoresInOneLine(ScoresOneByOne):
    def forward(self, hidden: Tensor, encoder_outputs: Tensor) -> Tensor:
        steps = encoder_outputs.transpose(1, 2)
        scores = [torch.dot(hidden.view(-1), self.attn(step.t()).view(-1)) for step in steps]
        return F.softmax(torch.stack(scores), dim=0)


@pytest.mark.parametrize("cls", [ScoresOneByOne, ScoresInOneLine])
def test_a_product_of_vectors_is_of_one_row(cls: type[nn.Module]) -> None:
    _, (hidden, steps), _ = called(cls)
    assert hidden.numel() == steps[0].numel() == 48


class BesideAnImage(nn.Module):
    """What is joined to the features of an image is a vector, of so many numbers as are left."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 21, 8, stride=8)
        self.head = nn.Linear(21 * 4 * 4 + 3, 7)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        z: Tensor = self.head(torch.cat((self.conv(x).flatten(1), y), 1))
        return z


def test_a_vector_beside_the_features_of_an_image() -> None:
    _, (image, vector), _ = called(BesideAnImage)
    assert image.ndim == 4
    assert vector.shape[1] == 3


class HalvesOften(nn.Module):
    """Normed in each map: of 256 pixels one is left, which cannot be."""

    def __init__(self) -> None:
        super().__init__()
        stages = [
            nn.Sequential(nn.Conv2d(a, 2, 3, stride=2, padding=1), nn.InstanceNorm2d(2))
            for a in (1, *[2] * 7)
        ]
        self.net = nn.Sequential(*stages)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.net(x)
        return y


def test_an_image_that_is_halved_eight_times() -> None:
    _, (image,), _ = called(HalvesOften)
    assert image.shape[-1] > 256


class ClassOfAnImage(nn.Module):
    """Without its class, None by default, nothing can be looked up."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3)
        self.embed = nn.Embedding(10, channels)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        features = self.conv(x).sum([2, 3])
        return features + self.embed(y)


def test_one_class_for_an_image() -> None:
    _, (image,), words = called(ClassOfAnImage)
    assert words["y"].shape == image.shape[:1]


class WithoutAKernel(nn.Conv2d):
    pass


class TellsOnlyChannels(nn.Module):
    """Its default is a class that wants more: a kernel, and so much padding that sizes stay."""

    def __init__(self, in_channels: int, out_channels: int, conv: Any = WithoutAKernel) -> None:
        super().__init__()
        self.first = conv(in_channels, out_channels)
        self.rest = conv(in_channels, out_channels - in_channels, kernel_size=1, padding=0)

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x) + torch.cat([x, self.rest(x)], 1)


def test_a_class_of_convolutions_gets_its_kernel_and_widths_their_order() -> None:
    module, _, _ = called(TellsOnlyChannels)
    assert isinstance(module, TellsOnlyChannels)
    assert module.first.kernel_size == (3, 3)
    assert module.first.out_channels > module.first.in_channels


class Tagger(nn.Module):
    def __init__(self, vocab_size: int, tag_to_ix: Any, hidden_dim: int) -> None:
        super().__init__()
        self.tags = len(tag_to_ix)
        self.emb = nn.Embedding(vocab_size, hidden_dim)
        self.out = nn.Linear(hidden_dim, self.tags)
        self.transitions = nn.Parameter(torch.zeros(self.tags, self.tags))
        self.transitions.data[tag_to_ix[START], :] = -10000.0
        self.transitions.data[:, tag_to_ix[STOP]] = -10000.0

    def forward(self, sentence: Tensor) -> Tensor:
        y: Tensor = self.out(self.emb(sentence)) @ self.transitions
        return y


def test_a_table_has_the_texts_that_are_looked_up_in_it() -> None:
    subject = subject_of_class(Tagger)
    assert not subject.doubt
    assert START in subject.inferred_from


class Feed(nn.Module):
    def __init__(self, width: int, kind: Any) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        assert kind in ["ReLU", "GeLU"]
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.linear(x)) if self.kind == "ReLU" else F.gelu(self.linear(x))


class Stack(nn.Module):
    """An option that only a part of a part knows."""

    def __init__(self, width: int, act_type: Any) -> None:
        super().__init__()
        self.parts = nn.ModuleList([self.part(width, act_type) for _ in range(2)])

    def part(self, width: int, kind: Any) -> Feed:
        return Feed(width, kind)

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x)
        return x


def test_an_option_that_a_test_names_is_tried() -> None:
    module, _, _ = called(Stack)
    assert isinstance(module, Stack)


class OfAnyRecurrentLayer(nn.Module):
    def __init__(self, rnn_layer: Any, vocab_size: int) -> None:
        super().__init__()
        self.rnn = rnn_layer
        self.width = rnn_layer.hidden_size * (2 if rnn_layer.bidirectional else 1)
        self.vocab_size = vocab_size
        self.dense = nn.Linear(self.width, vocab_size)

    def forward(self, inputs: Tensor, state: Any) -> Any:
        hot = torch.zeros(*inputs.shape, self.vocab_size).scatter_(2, inputs.long().unsqueeze(2), 1.0)
        y, state = self.rnn(hot.transpose(0, 1), state)
        return self.dense(y.reshape(-1, y.shape[-1])), state


def test_a_recurrent_layer_is_given_where_its_settings_are_read() -> None:
    module, args, _ = called(OfAnyRecurrentLayer)
    assert isinstance(module, OfAnyRecurrentLayer)
    assert isinstance(module.rnn, nn.GRU)
    assert args[0].dtype is torch.int64


class StopsForItsAuthor(nn.Module):
    """A breakpoint is no want of inputs, also where a table was made up."""

    def __init__(self, tag_to_ix: Any) -> None:
        super().__init__()
        self.out = nn.Linear(8, tag_to_ix[START] + 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.out(x)
        if y.ndim:
            raise bdb.BdbQuit  # what a breakpoint comes to where nobody answers
        return y


class Scripted(torch.jit.ScriptModule):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1


def test_a_script_is_told_from_what_cannot_be_called() -> None:
    with pytest.raises(Unbuildable, match="TorchScript, which cannot be looked into"):
        subject_of_class(Scripted)


class Enormous(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(ELEMENTS + 1))

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_what_one_machine_does_not_train_is_not_built() -> None:
    with pytest.raises(Unbuildable, match=OutOfBudget.__name__):
        subject_of_class(Enormous)


class Grid(nn.Module):
    """Cells, as many wide as high, of each of two anchors."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 14, 8, stride=8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        size = y.size(2)
        return y.view(y.size(0), 2, 7, size, size).permute(0, 1, 3, 4, 2)


def test_a_grid_of_cells_is_of_a_square_image() -> None:
    _, (image,), _ = called(Grid)
    assert image.shape[2] // 8 == image.shape[3] // 8


class TwoBodies(nn.Module):
    """`w` is no width where its columns are read, and no single vector beside times."""

    def __init__(self) -> None:
        super().__init__()
        self.mass = nn.Parameter(torch.ones(1))

    def forward(self, t: Tensor, w: Tensor) -> Tensor:
        one, other, speed, turn = w[..., :3], w[..., 3:6], w[..., 6:9], w[..., 9:12]
        return torch.cat([speed, turn, self.mass * (other - one), self.mass * (one - other)], -1)


def test_columns_that_are_read_by_number_are_those_of_a_matrix() -> None:
    inputs = subject_of_class(TwoBodies).inputs(0)
    _, state = inputs.args
    assert state.ndim == 2
    assert state.shape[1] >= 12


class StartsAnActivation(nn.Module):
    def forward(self, x: Tensor) -> Any:
        return F.leaky_relu()(x)  # type: ignore[call-arg, operator]


class NamesWhatTorchHasNot(nn.Module):
    def forward(self, x: Tensor) -> Any:
        return torch.split(x, split_size=2)  # type: ignore[call-arg]


class WritesAnEquationThatIsNone(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("n..., n...->(n)", x, x)


class CountsToAQuotient(nn.Module):
    """Of a constructor, as Python 2 had it."""

    def __init__(self, upsample_factor: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList([nn.ReLU() for _ in range(upsample_factor / 2)])  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        return x


class HalvesItsOwnWidth(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width / 2, 3)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return y


@pytest.mark.parametrize(
    "cls",
    [
        StopsForItsAuthor,
        StartsAnActivation,
        NamesWhatTorchHasNot,
        WritesAnEquationThatIsNone,
        CountsToAQuotient,
        HalvesItsOwnWidth,
    ],
)
def test_what_no_argument_mends_is_told(cls: type[nn.Module]) -> None:
    subject = subject_of_class(cls)
    assert subject.doubt == FAILS
    assert runner.ask(subject, load("forward-raises")).findings


def _summed(x: Tensor, *, axis: int = -1) -> Tensor:
    return x.sum(axis)


class HandsOnWhatItIsGiven(nn.Module):
    """An option that its caller names wrong is none of its faults."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options

    def forward(self, x: Tensor) -> Tensor:
        return _summed(x, **self.options)


def test_options_that_are_spread_are_the_callers() -> None:
    subject = subject_of_class(HandsOnWhatItIsGiven)
    assert subject.doubt != FAILS
