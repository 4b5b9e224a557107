"""Classes of public repositories, as they were first met: called wrongly, or accused of what they do on purpose."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from layersmith import runner
from layersmith.finding import Severity
from layersmith.load import project
from layersmith.load.build import subject_of_class
from layersmith.load.call.verdict import is_unmendable
from layersmith.load.failure import misses_one
from layersmith.load.unbuildable import Unbuildable
from layersmith.load.values import written
from layersmith.probe import batch, nodes, reading, usage
from layersmith.probe.inputs import Inputs
from layersmith.registry import load
from layersmith.subject import Construction, Subject


class ReadsDigits(nn.Module):
    """Of 32 x 32 its rows would be others: 16 x 500 numbers are 25 x 320."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 10, 5), nn.Conv2d(10, 20, 5)
        self.head = nn.Linear(320, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.max_pool2d(self.one(x), 2)
        x = nn.functional.max_pool2d(self.two(x), 2)
        return self.head(x.view(-1, 320))


class NormalisesBetween(nn.Module):
    """Over the axes between rows and features, which a table has none of."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_features))

    def forward(self, x: Tensor) -> Tensor:
        between = tuple(range(1, x.ndim - 1))
        return (x - x.mean(dim=between, keepdim=True)) * self.weight


class OfDepthSixMore(nn.Module):
    def __init__(self, depth: int) -> None:
        super().__init__()
        assert (depth - 4) % 6 == 0, "depth should be 6n+4"
        widths = [8] + [16] * ((depth - 4) // 6)
        self.layers = nn.ModuleList(map(nn.Linear, widths[:-1], widths[1:]))
        self.norm = nn.LayerNorm(16)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


@pytest.mark.parametrize(
    ("cls", "shape"), [(ReadsDigits, (1, 28, 28)), (NormalisesBetween, None), (OfDepthSixMore, (8,))]
)
def test_it_is_called_as_its_users_call_it(cls: type[nn.Module], shape: tuple[int, ...] | None) -> None:
    (x,) = subject_of_class(cls).inputs(0).args
    assert x.ndim > 2 if shape is None else tuple(x.shape[-len(shape) :]) == shape
    assert x.shape[0] == len(subject_of_class(cls).case().run())


class WaitsForItsLoop(nn.Module):
    def begin(self, rows: int) -> None:
        self.state = torch.zeros(rows, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.state


class NobodySets(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + self.state  # type: ignore[operator]


@pytest.mark.parametrize(("cls", "is_lost"), [(WaitsForItsLoop, False), (NobodySets, True)])
def test_what_a_method_sets_may_be_set_before_a_call(cls: type[nn.Module], is_lost: bool) -> None:
    module = cls()
    with pytest.raises(AttributeError) as raised:
        module(torch.randn(2, 4))
    assert is_unmendable(raised.value, module) is is_lost


class AsksOneForItsDevice(nn.Module):
    def forward(self, images: dict[str, Tensor]) -> Tensor:
        x = images["tensors"]
        return images["mask"].float().cumsum(1).to(x.device)


@pytest.mark.parametrize(("entry", "is_excused"), [("tensors", True), ("mask", False), ("other", True)])
def test_an_entry_may_be_asked_for_its_kind_only(entry: str, is_excused: bool) -> None:
    assert usage.is_unnamed_entry(AsksOneForItsDevice, f"input[0]['{entry}']") is is_excused


class ChoosesByACount(nn.Module):
    """The kernel's default is for the other branch."""

    def __init__(self, routes: int = -1, kernel: int | None = None) -> None:
        super().__init__()
        if routes != -1:
            self.layer: nn.Module = nn.Linear(8, routes)
        else:
            self.layer = nn.Conv1d(4, 4, kernel)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


class AlwaysNeedsIt(nn.Module):
    def __init__(self, kernel: int | None = None) -> None:
        super().__init__()
        self.layer = nn.Conv1d(4, 4, kernel)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


@pytest.mark.parametrize(("cls", "count"), [(ChoosesByACount, 0), (AlwaysNeedsIt, 1)])
def test_a_default_of_none_may_be_for_another_branch(cls: type[nn.Module], count: int) -> None:
    made = Construction(cls, {"kernel": 3}, lambda kind, given: kind(**given), f"{cls.__name__}(kernel=3)")
    subject = Subject(
        "it", lambda _: made.build(), lambda _: Inputs((torch.randn(2, 4, 8),)), construction=made
    )
    assert len(runner.ask(subject, load("argument-crashes")).findings) == count


def test_a_text_that_raises_is_its_class() -> None:
    class Shy(nn.Module):
        def __repr__(self) -> str:
            return f"Shy({self.unset})"

    assert written(Shy()) == "<Shy>"


def test_nodes_that_ask_their_neighbours_are_no_batch() -> None:
    inputs = Inputs((torch.randn(5, 4), torch.zeros(5, 3, dtype=torch.long)))
    assert nodes.is_graph(inputs, ("x", "nbr_idx"))
    assert not nodes.is_graph(inputs, ("x", "labels"))


class HooksItsNet(nn.Module):
    """The last child but one is hooked when it is first called, as self-supervised wrappers do."""

    def __init__(self, net: nn.Module, layer: int = -2) -> None:
        super().__init__()
        self.net, self.layer = net, layer

    def features(self, x: Tensor) -> Tensor:
        return self.net(x) * len([*self.net.children()][self.layer]._forward_hooks or [1])

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x)


class WantsThreeTogether(nn.Module):
    def __init__(self, dim: int, *, depth: int | None = None, heads: int | None = None) -> None:
        super().__init__()
        if depth is None or heads is None:
            raise AssertionError("depth and heads must be supplied")
        self.layers = nn.ModuleList(nn.MultiheadAttention(dim, heads, batch_first=True) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = x + layer(x, x, x)[0]
        return x


class RepeatsForEachLevel(nn.Module):
    """A list is taken for the one value of every level, a tuple for one value each."""

    def __init__(self, dim: int, num_levels: int, block_repeats: tuple[int, ...] | int) -> None:
        super().__init__()
        repeats = block_repeats if isinstance(block_repeats, tuple) else (block_repeats,) * num_levels
        self.levels = nn.ModuleList()
        for _, count in zip(range(num_levels), repeats, strict=False):
            self.levels.append(nn.Sequential(*(nn.Linear(dim, dim) for _ in range(count))))

    def forward(self, x: Tensor) -> Tensor:
        for level in self.levels:
            x = level(x)
        return x


class UpWithSkip(nn.Module):
    def __init__(self, bottom_: int, horizontal_: int, out_: int) -> None:
        super().__init__()
        self.act = nn.PReLU(bottom_ + horizontal_)
        self.conv = nn.Conv2d(bottom_ + horizontal_, out_, 3, padding=1)

    def forward(self, bottom: Tensor, skip: Tensor) -> Tensor:
        large = nn.functional.interpolate(bottom, scale_factor=2)
        return self.conv(self.act(torch.cat([large, skip], dim=1)))


class NoiseOfAShape(nn.Module):
    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def forward(self, batch_shape: tuple[int, ...]) -> Tensor:
        batch, channels, height, width = batch_shape
        return self.std * torch.ones(batch, channels, height, width)


@pytest.mark.parametrize(
    "cls", [HooksItsNet, WantsThreeTogether, RepeatsForEachLevel, UpWithSkip, NoiseOfAShape]
)
def test_it_is_built_and_called(cls: type[nn.Module]) -> None:
    assert subject_of_class(cls).case(seed=0).run() is not None


class StateForEachLayer(nn.Module):
    """A state for each layer, as its own method makes them."""

    def __init__(self, width: int, nlayers: int = 2) -> None:
        super().__init__()
        self.width, self.rnns = width, nn.ModuleList(nn.LSTM(width, width) for _ in range(nlayers))

    def init_hidden(self, bsz: int) -> list[tuple[Tensor, Tensor]]:
        return [(torch.zeros(1, bsz, self.width), torch.zeros(1, bsz, self.width)) for _ in self.rnns]

    def forward(self, x: Tensor, hidden: list[tuple[Tensor, Tensor]]) -> Tensor:
        for state, rnn in zip(hidden, self.rnns, strict=True):
            x, _ = rnn(x, state)
        return x


def test_a_state_is_made_by_the_method_that_makes_it() -> None:
    subject = subject_of_class(StateForEachLayer)
    assert subject.case(seed=0).run() is not None
    assert "[(f32[1," in subject.inferred_from


class NodesAreVectors(nn.Module):
    """Which nodes are neighbours is learned: the product of their vectors is no layer."""

    def __init__(self, *, is_layer: bool = False) -> None:
        super().__init__()
        self.one, self.two = nn.Parameter(torch.randn(7, 10)), nn.Parameter(torch.randn(10, 7))
        self.is_layer = is_layer

    def forward(self, x: Tensor) -> Tensor:
        neighbours = ((x if self.is_layer else self.one) @ self.two).relu().softmax(-1)
        return neighbours @ x


@pytest.mark.parametrize("is_layer", [False, True])
def test_what_is_multiplied_must_be_a_signal_to_explode(is_layer: bool) -> None:
    x = torch.randn(7, 10, generator=torch.Generator().manual_seed(0))
    subject = Subject("nodes", lambda _: NodesAreVectors(is_layer=is_layer), lambda _: Inputs((x.clone(),)))
    assert bool(runner.ask(subject, load("exploding-signal")).findings) == is_layer


def test_what_each_file_of_a_folder_takes_is_demanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "from torch import nn\nclass Model(nn.Module):\n"
        "    def forward(self, x, marks, times, mask=None):\n        return x\n"
    )
    (tmp_path / "linear_of_demand.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    alone = importlib.import_module("linear_of_demand").Model
    assert not usage.is_demanded(alone, "marks")
    (tmp_path / "other_of_demand.py").write_text(text.replace("return x", "return x + marks"))
    usage.is_demanded.cache_clear()
    assert usage.is_demanded(alone, "marks")


class SortsByLength(nn.Module):
    def __init__(self, vocab_size: int, dim: int) -> None:
        super().__init__()
        self.embedding, self.rnn = nn.Embedding(vocab_size, dim), nn.GRU(dim, dim, batch_first=True)

    def forward(self, input_sequence: Tensor, length: Tensor) -> Tensor:
        ordered, order = torch.sort(length, descending=True)
        embedded = self.embedding(input_sequence[order])
        packed = nn.utils.rnn.pack_padded_sequence(embedded, ordered.tolist(), batch_first=True)
        return self.rnn(packed)[1]


class DefaultsToNothing(nn.Module):
    def __init__(self, input_seq: Any = [], pred_seq: Any = [], dropout: Any = []) -> None:  # noqa: B006 - as some do
        super().__init__()
        self.dropout, self.linear = nn.Dropout(dropout), nn.Linear(input_seq, pred_seq * 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.linear(x))


@pytest.mark.parametrize("cls", [SortsByLength, DefaultsToNothing])
def test_it_is_called_with_numbers_of_the_right_kind(cls: type[nn.Module]) -> None:
    assert subject_of_class(cls).case(seed=0).run() is not None


class TimeFirstAsItSays(nn.Module):
    """
    Shape:
        - query: (L, N, E) where N is the batch size
        - weights: (N, L, S)
    """

    def forward(self, query: Tensor) -> Tensor:
        return query + query.mean(0, keepdim=True)


def test_the_first_shape_of_a_docstring_is_the_inputs() -> None:
    assert reading.axis_hint(TimeFirstAsItSays) == "time"
    assert reading.axis_hint(nn.GRU) == ""


def test_rows_of_one_input_may_go_together_with_a_row_of_another() -> None:
    series, variables = torch.randn(5, 7, 6), torch.randn(20, 7, 6)
    assert batch.axes(nn.Identity(), Inputs((variables, series))) == ()
    assert batch.axes(nn.Identity(), Inputs((series, series))) == (0,)


def test_another_class_of_the_file_may_call_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "from torch import nn\n"
        "class Attention(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.memory_layer, self.other_layer = nn.Linear(6, 6), nn.Linear(6, 6)\n"
        "        self.other_layer(1)\n"
        "class Decoder(nn.Module):\n"
        "    def forward(self, x):\n"
        "        return self.attention.memory_layer(x)\n"
    )
    (tmp_path / "parts_of_a_file.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    attention = importlib.import_module("parts_of_a_file").Attention
    assert project.is_read_from_outside(attention, "memory_layer")
    assert not project.is_read_from_outside(attention, "other_layer")


class WantsTargetsToTrain(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, 3)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        scores = self.linear(x)
        return nn.functional.cross_entropy(scores, y) if self.training else scores  # type: ignore[arg-type]


def test_targets_that_are_left_out_are_missed_in_train_mode() -> None:
    subject = subject_of_class(WantsTargetsToTrain)
    told = runner.ask(subject, load("forward-raises")).findings
    assert all(one.severity is Severity.NOTE for one in told)


class ScalesItsChannels(nn.Module):
    """A guess of (rows, channels) meets numbers made for an image."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.gain = nn.Linear(channels, channels)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x * self.gain(y).view(y.size(0), -1, 1, 1)


def test_numbers_for_an_images_channels_meet_what_was_guessed() -> None:
    def asked(how: str) -> bool:
        subject = Subject(
            "scales",
            lambda _: ScalesItsChannels(),
            lambda _: Inputs((torch.randn(5, 8), torch.randn(5, 8))),
            inferred_from=how,
        )
        return bool(runner.ask(subject, load("silent-broadcast")).findings)

    assert asked("")
    assert not asked("from names")


def test_only_an_argument_that_is_none_is_missed() -> None:
    def error(module: nn.Module, x: Tensor) -> Exception:
        try:
            module(x)
        except Exception as raised:  # noqa: BLE001 - it is looked at
            return raised
        raise AssertionError("it works")

    class ForgetsItsBias(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = None

        def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
            return x + self.bias  # type: ignore[operator]

    x = torch.randn(2, 3)
    wants, forgets = WantsTargetsToTrain(3), ForgetsItsBias()
    assert misses_one(error(wants, x), wants, Inputs((x,)))
    assert not misses_one(error(forgets, x), forgets, Inputs((x,)))


class RegistersParametersItself(nn.Module):
    """The layers lie in a plain list, and their parameters are registered by name: `.to()` moves what they hold."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.layers = [nn.Linear(width, width) for _ in range(2)]
        for i, layer in enumerate(self.layers):
            for j, parameter in enumerate(layer.parameters()):
                self.register_parameter(f"layers_{i}-{j}", parameter)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x).relu()
        return x


def test_parameters_are_moved_wherever_they_are_kept() -> None:
    subject = subject_of_class(RegistersParametersItself)
    assert not runner.ask(subject, load("hard-coded-device")).findings


class PaintsPatches(nn.Module):
    """The sides are unpacked by another method."""

    def __init__(self, dim: int, grid: Any, patch: int = 4) -> None:
        super().__init__()
        self.grid, self.patch = grid, patch
        self.linear = nn.Linear(dim, patch * patch)

    def unpatchify(self, x: Tensor) -> Tensor:
        (h, w), p = self.grid, self.patch
        x = x.reshape(x.size(0), h, w, p, p).transpose(2, 3)
        return x.reshape(x.size(0), 1, h * p, w * p)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.unpatchify(self.linear(tokens))


class FusesLevels(nn.Module):
    """As many maps as it says."""

    def __init__(self, ch: int, num_levels: int = 3) -> None:
        super().__init__()
        self.num_levels = num_levels
        self.convs = nn.ModuleList(nn.Conv2d(ch, ch, 3, padding=1) for _ in range(num_levels - 1))

    def forward(self, feats: list[Tensor]) -> list[Tensor]:
        assert len(feats) == self.num_levels
        x = feats[-1]
        outs = [x * 1.0]
        for i in range(self.num_levels - 2, -1, -1):
            up = nn.functional.interpolate(x, size=feats[i].shape[-2:], mode="nearest")
            x = self.convs[i](feats[i] + up)
            outs.insert(0, x)
        return outs


def test_sides_that_are_unpacked_and_lists_that_are_counted() -> None:
    said = subject_of_class(PaintsPatches).inferred_from
    assert said.startswith("PaintsPatches(32, (32, 32))(f32[5,1024,32])"), said
    maps = ", ".join(["f32[5,32,11,13]"] * 3)
    said = subject_of_class(FusesLevels).inferred_from
    assert said.startswith(f"FusesLevels(32)([{maps}])"), said


class OfAForecast(nn.Module):
    """All that is read of the second is one number."""

    def __init__(self, args: Any, data: Any) -> None:
        super().__init__()
        self.window, self.m = args.window, data.m
        self.hidden = nn.Linear(self.m, args.hidden)
        self.last = nn.Linear(args.hidden, self.m)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.hidden(x).relu())


def test_an_object_of_which_one_number_is_read() -> None:
    said = subject_of_class(OfAForecast).inferred_from
    assert "SimpleNamespace(m=32)" in said, said


class BiasesItsForgetGate(nn.Module):
    """As it was done before torch forbade it: no argument helps, so it is no matter of how it is called."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.rnn = nn.LSTM(width, hidden)
        for bias in (one for name, one in self.rnn.named_parameters() if "bias" in name):
            bias.chunk(4)[1].fill_(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(x)[0]


def test_a_constructor_that_torch_refuses_whatever_is_given() -> None:
    subject = subject_of_class(BiasesItsForgetGate)
    (found,) = runner.ask(subject, load("forward-raises")).findings
    assert "view and is being modified inplace" in found.message


class GaussSTE(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return x.sign() + 0.1 * x

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return gradient


class Binarises(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return GaussSTE.apply(x)


def test_a_function_that_says_it_passes_straight_through_is_a_note() -> None:
    subject = Subject("binarises", lambda _: Binarises(), lambda _: Inputs((torch.randn(4, 6),)))
    (found,) = runner.ask(subject, load("wrong-gradient")).findings
    assert found.severity is Severity.NOTE


class LooksUpVectors(nn.Module):
    """Of an array of NumPy, as it was read from a file."""

    def __init__(self, vectors: Any, width: int = 8) -> None:
        super().__init__()
        self.embedding = nn.Embedding(*vectors.shape)
        self.embedding.weight.data.copy_(torch.from_numpy(vectors))
        self.linear = nn.Linear(vectors.shape[1], width)

    def forward(self, tokens: Tensor, q_len: Tensor) -> Tensor:
        x = self.linear(self.embedding(tokens))
        packed = nn.utils.rnn.pack_padded_sequence(x, q_len, batch_first=True)
        return nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)[0]


def test_arrays_of_numpy_and_lengths_of_questions() -> None:
    said = subject_of_class(LooksUpVectors).inferred_from
    assert said.startswith("LooksUpVectors(torch.ones(100, 32).numpy())(i64[5,7]<"), said
    assert "1<=i64[5]<8" in said


class PlainBlock(nn.Module):
    expansion = 1

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.linear(x)


class GatedBlock(PlainBlock):
    def __init__(self, width: int, *, gated: bool) -> None:
        super().__init__(width)
        self.gate = nn.Linear(width, width) if gated else None

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if self.gate is None else x + self.gate(x).sigmoid() * self.linear(x)


class OfBlocks(nn.Module):
    """The first block that the file has does not take what it is given."""

    def __init__(self, block: Any, layers: int, width: int = 16, gated: bool = True) -> None:
        super().__init__()
        wide = width * block.expansion
        self.blocks = nn.Sequential(*(block(wide, gated=gated) for _ in range(layers)))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x)


def test_another_block_is_tried_where_one_refuses() -> None:
    assert subject_of_class(OfBlocks).inferred_from.startswith("OfBlocks(GatedBlock, ")


class NormsByClass(nn.Module):
    """What its normalizer takes besides, no norm of torch does: nobody has said which was meant."""

    def __init__(self, width: int, num_classes: int, normalizer: Any) -> None:
        super().__init__()
        self.norms = nn.ModuleList(normalizer(width) for _ in range(num_classes))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        for norm in self.norms:
            x = norm(x, y)
        return x


def test_a_norm_of_ours_that_is_called_otherwise_is_no_fault_of_the_class() -> None:
    with pytest.raises(Unbuildable):
        subject_of_class(NormsByClass)


class UnpacksAStarredShape(nn.Module):
    """Of (batch, nodes, width), which only the fourth name says."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.heads = 2
        self.linear = nn.Linear(dim, dim)

    def forward(self, feats: Tensor) -> Tensor:
        _, nodes, dim, heads = *feats.shape, self.heads
        return self.linear(feats).view(-1, nodes, heads, dim // heads).mean(2)


class CallsItself(nn.Module):
    """Instead of its base."""

    def forward(self, x: Tensor) -> Tensor:
        return self.forward(x)


def test_a_starred_shape_tells_the_rank() -> None:
    subject = subject_of_class(UnpacksAStarredShape)
    assert isinstance(subject, Subject)
    (tensor,) = subject.inputs(0).tensors()
    assert tensor.ndim == 3


def test_a_forward_that_calls_itself_fails_whatever_it_gets() -> None:
    with pytest.raises(RecursionError) as caught:
        CallsItself()(torch.ones(2))
    assert is_unmendable(caught.value, CallsItself())
    assert not is_unmendable(RecursionError("of another's making"), CallsItself())


class MeetsASkip(nn.Module):
    """Of a pair: a map, and one twice as large of fewer channels."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: tuple[Tensor, Tensor]) -> Tensor:
        low, skip = x
        low = nn.functional.interpolate(self.conv(low), scale_factor=2)
        return low + skip


def test_a_skip_of_a_pair_gets_the_size_that_it_meets() -> None:
    subject = subject_of_class(MeetsASkip)
    assert isinstance(subject, Subject)
    low, skip = subject.inputs(0).tensors()
    assert [*skip.shape[2:]] == [2 * side for side in low.shape[2:]]


class AttendsByPairs(nn.Module):
    """One mask of steps, to blank outputs, and one of pairs of steps, repeated for every head."""

    def __init__(self, width: int, n_head: int) -> None:
        super().__init__()
        self.linear, self.n_head = nn.Linear(width, width), n_head

    def forward(self, x: Tensor, mask: Tensor, slf_attn_mask: Tensor) -> Tensor:
        scores = (self.linear(x) @ x.mT).repeat(self.n_head, 1, 1)
        scores = scores.masked_fill(slf_attn_mask.repeat(self.n_head, 1, 1), -1e9)
        heads = scores.softmax(-1) @ x.repeat(self.n_head, 1, 1)
        y = heads.view(self.n_head, *x.shape).mean(0) + x
        return y.masked_fill(mask.unsqueeze(-1), 0)


def test_a_mask_of_pairs_of_steps_beside_one_of_steps() -> None:
    subject = subject_of_class(AttendsByPairs)
    assert isinstance(subject, Subject)
    x, mask, pairs = subject.inputs(0).tensors()
    assert [*mask.shape] == [*x.shape[:2]]
    assert [*pairs.shape] == [*x.shape[:2], x.shape[1]]
    assert not runner.ask(subject, load("mask-ignored")).findings


class DecodesLongestFirst(nn.Module):
    """Captions of an image, as tutorials decode them.

    :param captions: encoded captions, a tensor of dimension (batch_size, max_caption_length)
    :param caption_lengths: caption lengths, a tensor of dimension (batch_size, 1)
    """

    def __init__(self, embed_dim: int, vocab_size: int) -> None:
        super().__init__()
        self.embedding, self.fc = nn.Embedding(vocab_size, embed_dim), nn.Linear(embed_dim, vocab_size)

    def forward(self, captions: Tensor, caption_lengths: Tensor) -> tuple[Tensor, Tensor]:
        lengths, order = caption_lengths.squeeze(1).sort(dim=0, descending=True)
        embedded = self.embedding(captions[order])
        scores = torch.zeros(len(order), max(lengths.tolist()), self.fc.out_features, dtype=embedded.dtype)
        for step in range(max(lengths.tolist())):
            rows = sum(length > step for length in lengths.tolist())
            scores[:rows, step] = self.fc(embedded[:rows, step])
        return scores, order


def test_lengths_in_a_column_and_rows_that_are_sorted_by_them() -> None:
    subject = subject_of_class(DecodesLongestFirst)
    assert isinstance(subject, Subject)
    captions, lengths = subject.inputs(0).tensors()
    assert lengths.shape == (len(captions), 1)
    assert int(lengths.min()) >= 1
    for rule in ("batch-leak", "batch-order-matters", "batch-size-fails"):
        assert not runner.ask(subject, load(rule)).findings


class GrowsStepByStep(nn.Module):
    """Its caller says how many stages are at work: the others wait for their turn."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.stages = nn.ModuleList(nn.Linear(width, width) for _ in range(3))
        self.heads = nn.ModuleList(nn.Linear(width, 2) for _ in range(3))

    def forward(self, x: Tensor, step: int = 0) -> Tensor:
        for number, (stage, head) in enumerate(zip(self.stages, self.heads, strict=True)):
            x = stage(x).relu()
            if number == step:
                return head(x)
        return x


class ForgetsAStage(GrowsStepByStep):
    """The same, without a word from its caller."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        for number, (stage, head) in enumerate(zip(self.stages, self.heads, strict=True)):
            x = stage(x).relu()
            if number == 1:
                return head(x)
        return x


class Discriminator(nn.Module):
    """With the deviation of a batch as one more feature, as progressively grown ones have."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 6), nn.Linear(7, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x).relu()
        spread = torch.sqrt(x.var(0, unbiased=False) + 1e-8).mean()
        return self.head(torch.cat([x, spread.expand(x.size(0), 1)], 1))


def test_stages_that_wait_and_a_deviation_that_is_told_are_no_faults() -> None:
    x = torch.randn(4, 6)
    asked = [
        (GrowsStepByStep, "unused-parameter", []),
        (ForgetsAStage, "unused-parameter", [Severity.WARNING, Severity.WARNING]),
        (Discriminator, "batch-leak", [Severity.NOTE]),
    ]
    for cls, rule, expected in asked:
        result = runner.ask(subject_of_class(cls, inputs=x), load(rule))
        assert [result.severity_of(finding) for finding in result.findings] == expected


class ReadsSmallImages(nn.Module):
    """Made for 32 x 32, as its pooling says; of a depth that leaves blocks."""

    def __init__(self, depth: int, num_classes: int) -> None:
        super().__init__()
        blocks = (depth - 2) // 9
        convs = [nn.Conv2d(3 if block == 0 else 64, 64, 4, 4, bias=False) for block in range(blocks)]
        self.features = nn.Sequential(*convs, nn.ReLU())
        self.head = nn.Linear(64, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.avg_pool2d(self.features(x), 8, 1)
        return self.head(x.view(-1, 64))


def test_a_depth_leaves_a_block_and_images_of_another_size_say_nothing_of_a_view() -> None:
    subject = subject_of_class(ReadsSmallImages)
    assert subject.construction is not None
    assert subject.construction.arguments["depth"] == 11
    assert subject.inputs(0).args[0].shape[1:] == (3, 32, 32)
    assert not runner.ask(subject, load("scrambled-reshape")).findings


class PassesAlongEdges(nn.Module):
    """Its constructor gets the matrix of a graph, of which it asks nothing."""

    def __init__(self, in_features: int, out_features: int, adjmat: Any) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features)
        self.register_buffer("adjmat", adjmat)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([torch.mm(self.get_buffer("adjmat"), self.linear(one)) for one in x])


class PassesFeaturesFirst(nn.Module):
    """A(batch, features, nodes)"""

    def __init__(self, in_channels: int, out_channels: int, A: Any) -> None:  # noqa: N803 - as such code has it
        super().__init__()
        self.mix = nn.Conv1d(in_channels, in_channels, 1)
        self.conv = PassesAlongEdges(in_channels, out_channels, A)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.mix(x).transpose(1, 2))


@pytest.mark.parametrize("cls", [PassesAlongEdges, PassesFeaturesFirst])
def test_the_matrix_of_a_graph_is_as_wide_as_there_are_nodes(cls: type[nn.Module]) -> None:
    subject = subject_of_class(cls)
    module, (x,) = subject.build(0), subject.inputs(0).args
    (matrix,) = module.buffers()
    assert matrix.shape[0] == matrix.shape[1]
    assert len(matrix) in x.shape
    assert not runner.ask(subject, load("forward-raises")).findings


class OldBatchNorm3d(nn.modules.batchnorm._BatchNorm):
    def _check_input_dim(self, x: Tensor) -> None:
        if x.dim() != 5:
            raise ValueError(f"expected 5D input (got {x.dim()}D input)")
        super()._check_input_dim(x)

    def forward(self, x: Tensor) -> Tensor:
        self._check_input_dim(x)
        return nn.functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias)


class NamesWithADot(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.add_module("norm.1", nn.LayerNorm(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.get_submodule("norm.1")(x)


class NamesWhatItIsTold(nn.Module):
    """A name with a dot is its caller's fault."""

    def __init__(self, name: str = "a.b") -> None:
        super().__init__()
        self.add_module(name, nn.ReLU())


def test_what_torch_no_longer_lets_code_do_is_told() -> None:
    for cls, said in (
        (OldBatchNorm3d, "NotImplementedError in eval mode: in _check_input_dim()"),
        (NamesWithADot, "the constructor raised KeyError"),
    ):
        (finding,) = runner.ask(subject_of_class(cls), load("forward-raises")).findings
        assert said in finding.message
    with pytest.raises(Unbuildable):
        subject_of_class(NamesWhatItIsTold)


class GathersByClass(nn.Module):
    """The places of each class, summed by a softmax over them: of one place all weights are one."""

    def forward(self, feats: Tensor, probs: Tensor) -> Tensor:
        batch, c = probs.size(0), probs.size(1)
        places = feats.view(batch, feats.size(1), -1).permute(0, 2, 1)
        return probs.view(batch, c, -1).softmax(2) @ places


def test_a_map_of_one_place_that_was_guessed_is_not_told_to_be_ignored() -> None:
    assert not runner.ask(subject_of_class(GathersByClass), load("ignored-input")).findings
