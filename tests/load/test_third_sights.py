"""What is read of classes as people write them: comments on results, sides of maps, settings of bases and functions."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from layersmith import runner
from layersmith.load.build import subject_of_class
from layersmith.load.unbuildable import Unbuildable
from layersmith.registry import load


class EmbedsLabels(nn.Module):
    """A shape at the end of a line is that of what the line makes."""

    def __init__(self, dim: int = 8, classes: int = 10) -> None:
        super().__init__()
        self.labels = nn.Embedding(classes, dim)
        self.mix = nn.Linear(dim, dim)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """
        x: (N, D) features
        y: (N,) tensor of class labels
        """
        y = self.labels(y)
        c = x + y  # (N, D)
        return self.mix(c)


class Windows(nn.Module):
    def __init__(self, window: int = 4, dim: int = 8) -> None:
        super().__init__()
        self.window = window
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, x_size: tuple[int, int]) -> Tensor:
        height, width = x_size
        b, _, c = x.shape
        x = self.norm(x).view(b, height, width, c)
        side = self.window
        x = x.view(b, height // side, side, width // side, side, c)
        return x.transpose(2, 3).flatten(1, 4)


class Stage(nn.Module):
    """Hands the sides of the map on without looking at them."""

    def __init__(self, window: int = 4, dim: int = 8) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Windows(window, dim) for _ in range(2)])

    def forward(self, x: Tensor, x_size: Any) -> Tensor:
        for block in self.blocks:
            x = block(x, x_size)
        return x


class Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.final_dim = 8
        self.linear = nn.Linear(4, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


class Meta(nn.Module):
    def __init__(self, make: Any, ways: int) -> None:
        super().__init__()
        self.feature = make()
        self.dim = self.feature.final_dim
        self.ways = ways


class Prototypes(Meta):
    """What its base does with an argument is what it does with it."""

    def __init__(self, make: Any, ways: int) -> None:
        super().__init__(make, ways)
        self.head = nn.Linear(self.dim, ways)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.head(self.feature(x))
        return features


def activation(config: Any) -> nn.Module:
    if config.model.nonlinearity.lower() == "elu":
        return nn.ELU()
    if config.model.nonlinearity.lower() == "relu":
        return nn.ReLU()
    raise NotImplementedError("no such activation")


class Asks(nn.Module):
    """A function of the file reads some of the settings."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.act = activation(config)
        self.linear = nn.Linear(config.data.channels, config.model.width)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.linear(x))


class Codebooks(nn.Module):
    def __init__(self, n_q: int = 12, dim: int = 8) -> None:
        super().__init__()
        self.tables = nn.ModuleList([nn.Embedding(9, dim) for _ in range(n_q)])

    def forward(self, indices: Tensor, offset: int = 0) -> Tensor:
        """
        Args:
            indices (Tensor): of the previous time step. They should be one more than those
                in the codebook. Shape should be `[B, n_q, T]`.
            offset: of the current step.
        """
        found = [self.tables[k](indices[:, k]) for k in range(indices.shape[1])]
        return torch.stack(found).sum(0) + offset


class Forgets(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> None:
        x = self.linear(x)
        x = x.relu()
        return  # noqa: PLR1711 - as it was found


class Averages(nn.Module):
    """Has nothing to return."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.register_buffer("mean", torch.zeros(8))

    def forward(self, x: Tensor) -> None:
        self.mean = self.linear(x).mean(0)


class Attends(nn.Module):
    """Of two layers that only its caller knows."""

    def __init__(self, size: int, own_attn: nn.Module, other_attn: nn.Module) -> None:
        super().__init__()
        self.size = size
        self.own_attn, self.other_attn = own_attn, other_attn

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        x = x + self.own_attn(x, x, x)
        return x + self.other_attn(x, memory, memory)


class AttendsTwice(nn.Module):
    def __init__(self, layer: Any, count: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([copy.deepcopy(layer) for _ in range(count)])
        self.norm = nn.LayerNorm(layer.size)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x, memory)
        return self.norm(x)


def test_what_stands_in_for_a_part_of_a_part_is_a_guess_as_well() -> None:
    assert "a stand-in" in subject_of_class(AttendsTwice).doubt


def test_axes_are_read_below_the_line_that_names_the_argument() -> None:
    (indices,) = subject_of_class(Codebooks).inputs(0).args
    assert indices.shape[1] == 12


def test_a_forward_that_forgets_to_return_is_found_so() -> None:
    (finding,) = runner.ask(subject_of_class(Forgets), load("forward-raises")).findings
    assert "forward returned None" in finding.message
    with pytest.raises(Unbuildable):
        subject_of_class(Averages)


def test_labels_are_of_rows_though_a_comment_gives_the_shape_of_what_they_become() -> None:
    _, labels = subject_of_class(EmbedsLabels).inputs(0).args
    assert (labels.dtype, labels.ndim) == (torch.int64, 1)


@pytest.mark.parametrize("cls", [Windows, Stage])
def test_a_map_in_a_row_has_sides_that_come_in_whole_windows(cls: type[nn.Module]) -> None:
    x, (height, width) = subject_of_class(cls).inputs(0).args
    assert x.shape[1] == height * width
    assert height % 4 == width % 4 == 0


def small_backbone() -> Backbone:
    return Backbone()


class Layers(nn.Module):
    def __init__(self, dim: int, *, causal: bool) -> None:
        super().__init__()
        self.dim, self.causal = dim, causal
        self.linear = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


class Wrapper(nn.Module):
    def __init__(self, *, tokens: int, layers: Any) -> None:
        super().__init__()
        assert isinstance(layers, Layers), "layers must be Layers"
        self.embed = nn.Embedding(tokens, layers.dim)
        self.layers = layers

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(self.embed(x))


class Coder(nn.Module):
    def __init__(self, *, width: int, double: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 2 * width if double else width)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


class Variational(nn.Module):
    """Reads a setting itself that it hands on with all others."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.coder = Coder(**config)
        assert config["double"]

    def forward(self, x: Tensor) -> Tensor:
        mean, spread = self.coder(x).chunk(2, -1)
        return mean + spread.exp()


class Enlarges(nn.Module):
    """Only the error says that it takes images."""

    def __init__(self) -> None:
        super().__init__()
        self.enlarged = partial(nn.functional.interpolate, mode="bilinear", scale_factor=2.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.enlarged(x)


@pytest.mark.parametrize("cls", [Asks, Prototypes, Wrapper, Variational, Enlarges])
def test_what_is_read_or_asked_of_an_argument_is_given(cls: type[nn.Module]) -> None:
    subject = subject_of_class(cls)
    assert subject.inferred_from
    assert "a stand-in" not in subject.doubt


class Level(nn.Module):
    """Picks widths by the numbers of its levels."""

    def __init__(self, channels: Any, low: Any, high: Any) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels[low], channels[high], 3, stride=2 ** (high - low), padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(x)


class Branch(nn.Module):
    def __init__(self, blocks) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - as people write it
        super().__init__()
        self.blocks = blocks

    def forward(self, x: Tensor) -> Tensor:
        blocks = self.blocks
        x = blocks[0](x)
        for place in range(1, len(blocks)):
            x = blocks[place](x)
        return x


def test_what_picks_from_a_list_is_a_place_in_it() -> None:
    construction = subject_of_class(Level).construction
    assert construction is not None
    assert (construction.arguments["low"], construction.arguments["high"]) == (0, 1)


def test_a_list_of_modules_that_inference_made_is_not_the_authors() -> None:
    subject = subject_of_class(Branch)
    assert "ModuleList([nn.Linear" in subject.inferred_from
    assert not runner.ask(subject, load("unregistered-module")).findings


class Core(nn.Module):
    """Joins a state to inputs of which nothing else says the width; one is cut into places of a width that is told."""

    def __init__(self, rnn_size: int, att_size: int) -> None:
        super().__init__()
        self.att_size = att_size
        self.cell = nn.LSTMCell(3 * rnn_size, rnn_size)
        self.score = nn.Linear(att_size, rnn_size)

    def forward(self, xt, features, places, state):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        joined = torch.cat([state[0][-1], features, xt], 1)
        h, c = self.cell(joined, (state[0][0], state[1][0]))
        h = h + self.score(places.view(-1, 1, self.att_size)).squeeze(1)
        return h, (torch.stack([h]), torch.stack([c]))


class Matches(nn.Module):
    """Rows and shots are joined before the images are looked at."""

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(in_channels, 8, 3, padding=1), nn.BatchNorm2d(8))

    def forward(self, inputs: Tensor) -> Tensor:
        found = self.encoder(inputs.view(-1, *inputs.shape[2:]))
        return found.view(*inputs.shape[:2], -1)


class Samples(nn.Module):
    """Every so many steps."""

    def __init__(self, freq: int, dim: int = 8) -> None:
        super().__init__()
        self.freq = freq
        self.rnn = nn.GRU(dim, dim, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x, _ = self.rnn(x)
        return torch.stack([x[:, step + self.freq - 1] for step in range(0, x.shape[1], self.freq)], 1)


class Mixture(nn.Module):
    def __init__(self, hidden: int, parts: int) -> None:
        super().__init__()
        self.parts = parts
        self.mean = nn.Linear(hidden, 2 * parts)

    def forward(self, outputs, bs):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        return self.mean(outputs).view(bs, 2, self.parts)


class Speaks(nn.Module):
    """Goes through the words of its settings."""

    def __init__(self, opt: Any) -> None:
        super().__init__()
        self.width = opt.width
        self.vocab = opt.vocab
        self.ends = [int(number) for number, word in self.vocab.items() if word == "a"]
        self.linear = nn.Linear(self.width, getattr(opt, "count", 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


@pytest.mark.parametrize("cls", [Core, Matches, Samples, Mixture, Speaks])
def test_a_call_is_found(cls: type[nn.Module]) -> None:
    assert subject_of_class(cls).inferred_from


def test_a_setting_has_the_value_that_stands_for_it_where_it_is_missing() -> None:
    module = subject_of_class(Speaks).build(0)
    assert isinstance(module, Speaks)
    assert module.linear.out_features == 3


class Pyramid(nn.Module):
    """A model that nobody builds by its defaults."""

    def __init__(self, dims: Any = (0, 0), depths: Any = (0, 0), padding: Any = (0, 0)) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, dims[0], 3, padding=padding)
        self.layers = nn.ModuleList([nn.Conv2d(dims[0], dims[0], 1) for _ in range(depths[0])])
        self.down = nn.Conv2d(dims[0], dims[1], 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for layer in self.layers:
            x = layer(x)
        return self.down(x)


def test_defaults_that_stand_for_nothing_are_not_built() -> None:
    construction = subject_of_class(Pyramid).construction
    assert construction is not None
    assert all(construction.arguments["depths"])
    assert "padding" not in construction.arguments


class Counts(nn.Module):
    """A count that also picks from the list is no place."""

    def __init__(self, dims: Any, num_layers: Any) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(dims[i], dims[i + 1]) for i in range(num_layers)])
        self.head = nn.Linear(dims[num_layers], 4)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x).relu()
        return self.head(x)


class Writes(nn.Module):
    """Works on what it is given."""

    def __init__(self, dim: int = 8) -> None:
        super().__init__()
        self.key = nn.Linear(dim, dim)

    def forward(self, x: Tensor, cache: Tensor) -> None:
        cache[:, 0] = self.key(x)


class Fills(nn.Module):
    """Has a method of its own do what is to be done."""

    queue: Tensor

    def __init__(self, dim: int = 8) -> None:
        super().__init__()
        self.register_buffer("queue", torch.zeros(16, dim))

    def enqueue(self, keys: Tensor) -> int:
        self.queue[: len(keys)] = keys
        return len(keys)

    def forward(self, keys: Tensor) -> None:
        keys = nn.functional.normalize(keys, dim=-1)
        done = self.enqueue(keys)  # noqa: F841 - as people write it


class NeedsHeads(nn.Module):
    """Its own default for what is missing is one that it refuses."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        heads = getattr(config, "num_heads", None)
        if heads is None:
            raise ValueError("num_heads must be set")
        width = getattr(config, "dim", 0)
        assert width > 0
        self.linear = nn.Linear(width, heads)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


class Drops(nn.Module):
    """Zeros that are meant."""

    def __init__(self, dim: int = 8, drop_ratios: tuple[float, float] = (0.0, 0.0)) -> None:
        super().__init__()
        self.drop_ratios = drop_ratios
        self.linear = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        for ratio in self.drop_ratios:
            x = nn.functional.dropout(self.linear(x), ratio, self.training)
        return x


def test_a_count_that_picks_from_a_list_is_built_with_layers() -> None:
    module = subject_of_class(Counts).build(0)
    assert isinstance(module, Counts)
    assert len(module.layers)


@pytest.mark.parametrize("cls", [Writes, Fills])
def test_a_forward_that_does_its_work_in_place_forgets_nothing(cls: type[nn.Module]) -> None:
    with pytest.raises(Unbuildable):
        subject_of_class(cls)


@pytest.mark.parametrize("cls", [NeedsHeads, Drops])
def test_defaults_that_say_nothing_are_guessed_and_those_that_mean_something_kept(
    cls: type[nn.Module],
) -> None:
    assert "drop_ratios" not in subject_of_class(cls).inferred_from


class Activates(nn.Module):
    """Its constructor calls a function without source."""

    shape = staticmethod(torch.zeros)

    def __init__(self, dim: int = 8) -> None:
        super().__init__()
        self.bias = nn.Parameter(self.shape((dim,)))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias


def test_a_function_without_source_says_nothing() -> None:
    assert subject_of_class(Activates).inferred_from
