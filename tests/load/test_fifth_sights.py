"""What a further random sample of repositories showed: sides found by halving, words in columns, slips that are sure."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from layersmith import runner
from layersmith.load import discovery
from layersmith.load.build import subject_of_class
from layersmith.load.doubt import FAILS
from layersmith.load.unbuildable import Unbuildable
from layersmith.registry import load


def _called(cls: type[nn.Module]) -> tuple[nn.Module, Any]:
    subject = subject_of_class(cls)
    assert not subject.doubt or "stand-in" in subject.doubt
    module, inputs = subject.build(0), subject.inputs(0)
    inputs.call(module)
    return module, inputs.args


def _stage(given: int, wanted: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(given, wanted, 7, padding=2), nn.ReLU(), nn.MaxPool2d(2))


class OfLargeImages(nn.Module):
    """Which no other size fits than some about 500."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(_stage(3, 4), _stage(4, 4), _stage(4, 4), _stage(4, 4), _stage(4, 4))
        self.head = nn.Linear(4 * 14 * 14, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(torch.flatten(self.net(x), 1))
        return y


class OfSpectrograms(nn.Module):
    """Of which no square has as many features."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(_stage(1, 5), _stage(5, 10))
        self.head = nn.Linear(10 * 3 * 9, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.net(x)
        z: Tensor = self.head(y.view(len(y), -1))
        return z


class OfPairs(nn.Module):
    """Two images, through one network."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(_stage(1, 4), _stage(4, 4), nn.Flatten(), nn.Linear(4 * 23 * 23, 8))

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        return (self.net(one) - self.net(other)).abs()


class ViewsItsRows(nn.Module):
    def __init__(self, in_dim: int, n_class: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(in_dim, 6, 3, padding=1), nn.MaxPool2d(2), _stage(6, 16))
        self.fc = nn.Linear(16 * 6 * 6, n_class)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc(self.conv(x).view(x.size(0), 16 * 6 * 6))
        return y


@pytest.mark.parametrize("cls", [OfLargeImages, OfSpectrograms, OfPairs, ViewsItsRows])
def test_sides_are_found_at_which_a_layer_gets_its_features(cls: type[nn.Module]) -> None:
    _called(cls)


class Encoder(nn.Module):
    """As a tutorial for chat bots has it: steps first, and words from the outside."""

    def __init__(self, hidden_size: int, embedding: Any, n_layers: int = 1) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.embedding = embedding
        self.gru = nn.GRU(hidden_size, hidden_size, n_layers, bidirectional=True)

    def forward(self, input_seq: Tensor, input_lengths: Tensor, hidden: Tensor | None = None) -> Tensor:
        packed = pack_padded_sequence(self.embedding(input_seq), input_lengths)
        outputs, hidden = self.gru(packed, hidden)
        outputs, _ = pad_packed_sequence(outputs)
        return outputs[:, :, : self.hidden_size] + outputs[:, :, self.hidden_size :]


def test_a_length_for_each_column_where_steps_come_first() -> None:
    module, (words, lengths) = _called(Encoder)
    assert isinstance(module.embedding, nn.Embedding)
    assert (words.dtype, len(lengths)) == (torch.int64, words.shape[1])
    assert lengths.max() <= words.shape[0]


class Words(nn.Module):
    def __init__(self, vocab_size: int, emb_size: int, rnn_size: int) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(vocab_size, emb_size)
        self.rnn = nn.GRU(emb_size, rnn_size, batch_first=True)

    def forward(self, sentences: Tensor, counts: Tensor) -> Tensor:
        words = pack_padded_sequence(
            self.embeddings(sentences), lengths=counts.tolist(), batch_first=True, enforce_sorted=False
        )
        _, last = self.rnn(words)
        return last[0]


class Sentences(nn.Module):
    """Of texts: the words of all their sentences stand below each other once they are packed."""

    def __init__(self, vocab_size: int, emb_size: int, rnn_size: int) -> None:
        super().__init__()
        self.words = Words(vocab_size, emb_size, rnn_size)

    def forward(self, texts: Tensor, sentences_in: Tensor, words_in: Tensor) -> Tensor:
        lengths = sentences_in.tolist()
        packed = pack_padded_sequence(texts, lengths=lengths, batch_first=True, enforce_sorted=False)
        counts = pack_padded_sequence(words_in, lengths=lengths, batch_first=True, enforce_sorted=False)
        y: Tensor = self.words(packed.data, counts.data)
        return y


def test_what_is_packed_by_lengths_says_of_what_they_are() -> None:
    _, (texts, sentences, words) = _called(Sentences)
    assert (texts.ndim, sentences.ndim, words.ndim) == (3, 1, 2)
    assert texts.dtype is sentences.dtype is words.dtype is torch.int64
    assert sentences.max() <= texts.shape[1]
    assert words.max() <= texts.shape[2]


class OfOneSentence(nn.Module):
    """A step for each word, in a batch of one."""

    def __init__(self, input_size: int, hidden_size: int, pars: Any) -> None:
        super().__init__()
        self.pars = pars
        self.embedding = nn.Embedding(input_size, hidden_size)
        self.gru = nn.GRU(hidden_size, hidden_size)

    def forward(self, words: Tensor) -> Tensor:
        embedded = self.embedding(words).view(len(words), 1, -1)
        if self.pars.USE_CUDA:
            embedded = embedded.cuda()
        y: Tensor = self.gru(embedded)[0]
        return y


def test_one_word_a_step_where_the_features_of_several_are_too_many() -> None:
    module, (words,) = _called(OfOneSentence)
    assert words.ndim == 1
    assert vars(module)["pars"].USE_CUDA is False


class BuildsALayerOfItsInput(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(nn.ReLU(self.linear(x)))
        return y


class ReadsBeforeItWrites(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        h1 = F.relu(self.linear(x))
        h2: Tensor = F.relu(self.linear(h2)) + h1  # noqa: F821
        return h2


@pytest.mark.parametrize("cls", [BuildsALayerOfItsInput, ReadsBeforeItWrites])
def test_a_slip_that_no_input_avoids_is_told(cls: type[nn.Module]) -> None:
    subject = subject_of_class(cls)
    assert subject.doubt == FAILS
    assert runner.ask(subject, load("forward-raises")).findings


class MayReadBeforeItWrites(nn.Module):
    """For images, it sets the name."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 4:
            y: Tensor = self.conv(x)
        return y


def test_a_name_that_some_inputs_set_is_no_slip() -> None:
    assert not subject_of_class(MayReadBeforeItWrites).doubt


class AsksItsInput(nn.Module):
    """For a tensor it is no class of modules; the tensor that was asked has no truth."""

    def forward(self, feats: Tensor) -> Any:
        return feats.crf(feats)  # type: ignore[attr-defined]


def test_a_tensor_that_has_no_such_method_ends_no_check() -> None:
    with pytest.raises(Exception, match="'Tensor' object has no attribute 'crf'"):
        subject_of_class(AsksItsInput)


class Mixed(nn.Module):
    """Hands up to the class that it is mixed into."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        if input.dim() <= 2:
            return super(Mixed, self).forward(input)  # noqa: UP008
        return super().forward(input.flatten(0, 1)).view(*input.shape[:2], -1)


class MixedLinear(Mixed, nn.Linear):
    pass


class LeavesItOpen(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise "not implemented"  # type: ignore[misc]  # noqa: B016


def test_a_class_that_hands_up_to_none_or_says_so_by_a_text_is_abstract() -> None:
    assert not discovery.is_concrete(Mixed)
    assert discovery.is_concrete(MixedLinear)
    assert not discovery.is_concrete(LeavesItOpen)


class WithStates(nn.Module):
    """Lays its input beside its states, one after the other."""

    def __init__(self, input_shape: int, hidden_shape: int, output_shape: int) -> None:
        super().__init__()
        self.first = nn.Linear(input_shape + hidden_shape, hidden_shape)
        self.second = nn.Linear(2 * hidden_shape, output_shape)

    def forward(self, input: Tensor, state1: Tensor, state2: Tensor) -> Tensor:  # noqa: A002
        y = self.first(torch.cat([input, state1], 1))
        z: Tensor = self.second(torch.cat([y, state2], 1))
        return z


def test_an_input_beside_states_that_had_one_size_with_it() -> None:
    _, (x, state1, state2) = _called(WithStates)
    assert x.shape[1] != state1.shape[1] == state2.shape[1]


PARTICLES = 8


class OfAGlobal(nn.Module):
    """Right for one number of particles alone, which stands elsewhere: the constructor was told a wrong one."""

    def __init__(self, input_dim: int, hidden: int, n_particles: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_particles * input_dim, hidden)

    def forward(self, x: Tensor) -> Tensor:
        means = torch.stack([x.mean(), x.std(), x.sum()]).repeat(PARTICLES)
        y: Tensor = self.linear(means[None])
        return y


class OfOddWidths(nn.Module):
    """Wrong whatever it is told: its layer takes half of what comes in."""

    def __init__(self, emb_dim: int, hidden_size: int) -> None:
        super().__init__()
        self.rnn = nn.GRU(emb_dim, hidden_size, bidirectional=True, batch_first=True)
        self.out = nn.Linear(hidden_size, 4)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.out(self.rnn(x)[0])
        return y


def test_a_clash_is_told_only_where_other_arguments_would_not_end_it() -> None:
    with pytest.raises(Unbuildable, match="24 and"):
        subject_of_class(OfAGlobal)
    assert subject_of_class(OfOddWidths).doubt == FAILS


SCRIPT = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, width)

    def forward(self, x):
        return self.linear(x)

class Slips(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, widht)

    def forward(self, x):
        return self.linear(x)

if __name__ == "__main__":
    width = 16
    print(Net()(torch.ones(2, 8)))
"""


def test_a_name_that_only_a_script_sets_is_no_slip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run_as_a_script.py").write_text(SCRIPT)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("run_as_a_script")
    with pytest.raises(Unbuildable, match="'width' is not defined"):
        subject_of_class(module.Net)
    assert subject_of_class(module.Slips).doubt == FAILS
