"""What the next repositories showed: bases that get all arguments, files that are opened, tables, loops that run past."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from layersmith import runner
from layersmith.load import importing, target
from layersmith.load.build import subject_of_class
from layersmith.load.call.repair.messages import undirected_pairs
from layersmith.load.certain import is_certain
from layersmith.load.constructor import callsites
from layersmith.load.doubt import FAILS
from layersmith.load.unbuildable import Unbuildable
from layersmith.probe import slips
from layersmith.registry import load
from tests.load.calling import called

LAYERS = {"conv_1": 0, "conv_2": 2}


class Binarised(nn.Linear):
    """Hands all on to the layer that it is, whatever the names of the rest."""

    def __init__(self, *kargs: Any, **kwargs: Any) -> None:
        super().__init__(*kargs, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight.sign(), self.bias)


class Doubled(nn.Conv2d):
    """The same without keywords."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Inherits(Doubled):
    """Has the constructor of its base."""


class HandsOn(Inherits):
    """Hands all on to one that does so."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)


class Mapped(nn.Sequential):
    """Keeps the first, and hands the rest on behind nothing."""

    def __init__(self, fn: Any, *args: Any) -> None:
        super().__init__(*args)
        self.fn = fn


class MappedTwice(Mapped):
    """Hands the first on by itself."""

    def __init__(self, fn: Any, *args: Any) -> None:
        super().__init__(fn, *args)


def test_what_is_handed_on_before_the_rest_is_not_given_twice() -> None:
    construction = subject_of_class(MappedTwice).construction
    assert construction is not None
    assert [*construction.arguments] == ["fn"]


@pytest.mark.parametrize("cls", [Binarised, Doubled, Inherits, HandsOn])
def test_what_a_base_takes_is_given_by_position_or_name(cls: type[nn.Module]) -> None:
    called(cls)


class Listening(nn.Module):
    """Picks layers by names that a table has; None cannot be gone through."""

    def __init__(self, listen: Any = None) -> None:
        super().__init__()
        self.at = {LAYERS[one] for one in listen}
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))

    def forward(self, x: Tensor) -> list[Tensor]:
        found = []
        for index, layer in enumerate(self.layers):
            x = layer(x)
            found += [x] if index in self.at else []
        return found


def test_items_that_pick_from_a_table_are_its_keys() -> None:
    construction = subject_of_class(Listening).construction
    assert construction is not None
    assert {*construction.arguments["listen"]} <= {*LAYERS}


class DilationBlock(nn.Module):
    """Bears the name of an argument of the next."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Dilated(nn.Module):
    """Its `dilation` would be a block by its name, were it no count."""

    def __init__(self, width: Any, dilation: Any) -> None:
        super().__init__()
        self.block = DilationBlock(width=width, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x)


def test_a_count_is_no_block_of_a_like_name() -> None:
    subject = subject_of_class(Dilated)
    assert subject.construction is not None
    assert type(subject.construction.arguments["dilation"]) is int


class WarmUp(nn.Module):
    """Trains from two values that it is given."""

    def __init__(self, start: Any) -> None:
        super().__init__()
        self.scale = nn.Parameter(start[0])
        self.rate = nn.Parameter(start[1])

    def forward(self, t: Tensor) -> Tensor:
        return self.scale * (1 - torch.exp(-t / self.rate))


def test_items_that_become_parameters_are_tensors() -> None:
    called(WarmUp)


class Intensity(nn.Module):
    """Of the last state and one time a row, which gets its axis on the way."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Linear(1, 1)
        self.head = nn.Linear(width + 1, 1)

    def forward(self, states: Tensor, target_time: Tensor) -> Tensor:
        t = self.scale(target_time.unsqueeze(dim=-1))
        return self.head(torch.cat([states[:, -1, :], t], dim=-1))


def test_what_gets_an_axis_before_it_is_joined_has_one_less() -> None:
    _, (states, times), _ = called(Intensity)
    assert states.dim() == 3
    assert times.dim() == 1


class Events(nn.Module):
    """Of a pair: when, and what happened then."""

    def __init__(self, width: int, num_events: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_events, width)
        self.rnn = nn.LSTM(width + 1, width, batch_first=True)

    def forward(self, batch: Any) -> Tensor:
        times, events = batch
        times.requires_grad_(True)
        joined = torch.cat([self.embedding(events.long()), times.unsqueeze(-1)], dim=-1)
        return self.rnn(joined)[0]


def test_one_of_a_pair_of_numbers_may_be_real() -> None:
    _, ((times, events),), _ = called(Events)
    assert times.is_floating_point()
    assert not events.is_floating_point()


class CellOfTen(nn.Module):
    """Runs through as many steps as it is told, which are more than one would give it."""

    def __init__(self, channels: int, num_features: int) -> None:
        super().__init__()
        self.features = num_features
        self.conv = nn.Conv2d(channels + num_features, num_features, 3, padding=1)

    def forward(self, inputs: Tensor, state: Any = None, seq_len: int = 10) -> Tensor:
        if state is None:
            state = inputs.new_zeros(inputs.size(1), self.features, inputs.size(3), inputs.size(4))
        for step in range(seq_len):
            state = torch.tanh(self.conv(torch.cat((inputs[step, ...], state), 1)))
        return state


def test_a_loop_gets_the_steps_that_it_counts() -> None:
    _, (inputs,), _ = called(CellOfTen)
    assert inputs.shape[0] == 10


class OldNumpy(nn.Module):
    """Says `np.int`, whatever stands in for its activation."""

    def __init__(self, width: int, activation: Any) -> None:
        super().__init__()
        self.layer, self.activation = nn.Linear(width, width), activation

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.layer(x))[: np.int(2)]  # type: ignore[attr-defined]  # noqa: NPY001


def test_a_name_that_is_nowhere_is_told_beside_a_stand_in() -> None:
    assert subject_of_class(OldNumpy).doubt == FAILS


_DARKNET = """
import torch
from torch import nn

def parse(path):
    file = open(path)
    return [int(line) for line in file.read().split()]

class Darknet(nn.Module):
    def __init__(self, cfgfile):
        super().__init__()
        sizes = parse(cfgfile)
        self.layers = nn.Sequential(*(nn.Conv2d(a, b, 3) for a, b in zip(sizes, sizes[1:])))

    def forward(self, x):
        return self.layers(x)
"""


def test_a_file_of_the_project_is_found_and_its_absence_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("")
    (tmp_path / "opened_darknet.py").write_text(_DARKNET)
    cls = importing.import_target(target.parse("opened_darknet.py")[0]).Darknet
    with pytest.raises(Unbuildable, match="Darknet needs the file 'cfgfile', which is not there"):
        subject_of_class(cls)


def test_a_file_that_a_constructor_opens_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("")
    (tmp_path / "notes.txt").write_text("no number\n")
    (tmp_path / "cfg").mkdir()
    (tmp_path / "cfg" / "small.cfg").write_text("3 8 16\n")
    (tmp_path / "opening_darknet.py").write_text(_DARKNET)
    cls = importing.import_target(target.parse("opening_darknet.py")[0]).Darknet
    assert "Darknet('cfg/small.cfg')(f32[5,3," in subject_of_class(cls).inferred_from


_EITHER = """
import json
from torch import nn

class Net(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        if isinstance(cfg, str):
            with open(cfg) as file:
                cfg = json.load(file)
        self.layer = nn.Linear(cfg["width"], cfg["num_classes"])

    def forward(self, x):
        return self.layer(x)
"""


def test_settings_are_given_rather_than_a_file_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "of_settings.py").write_text(_EITHER)
    subject_of_class(importing.import_target(target.parse("of_settings.py")[0]).Net)


_CONSTANTS = {
    "constants.py": "BASE = 3\nHIDDEN = 24\nSIZES = [BASE * 8, 48]\nOPTIONS = {'layers': 2}\n",
    "imported_net.py": "from torch import nn\n\nclass Net(nn.Module):\n"
    "    def __init__(self, foo, bar, baz, qux):\n        super().__init__()\n"
    "        self.layer = nn.Linear(foo, bar[1])\n\n    def forward(self, x):\n        return self.layer(x)\n",
    "main.py": "import constants as C\nfrom constants import *\nfrom constants import SIZES as S\n"
    "from imported_net import Net\n\n"
    "def main():\n    net = Net(HIDDEN, S, C.BASE, C.OPTIONS['layers'])\n",
}


def test_constants_of_another_file_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in _CONSTANTS.items():
        (tmp_path / name).write_text(text)
    cls = importing.import_target(target.parse("imported_net.py")[0]).Net
    assert callsites.farther(cls) == [{"foo": 24, "bar": [24, 48], "baz": 3, "qux": 2}]


class StyleFeatures(nn.Module):
    """Returns those of its results that are asked for by name."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x: Tensor, out_keys: Any) -> list[Tensor]:
        out = {"r11": torch.relu(self.conv1(x))}
        out["r12"] = torch.relu(self.conv2(out["r11"]))
        return [out[key] for key in out_keys]


class OneFeature(StyleFeatures):
    """The same of one name."""

    def forward(self, x: Tensor, layer: Any) -> Any:
        found = {}
        found["r11"] = torch.relu(self.conv1(x))
        found["r12"] = torch.relu(self.conv2(found["r11"]))
        return found[layer]


@pytest.mark.parametrize(("cls", "wanted"), [(StyleFeatures, ["r11", "r12"]), (OneFeature, "r12")])
def test_results_are_asked_for_by_their_names(cls: type[nn.Module], wanted: Any) -> None:
    _, (_, asked), _ = called(cls)
    assert asked == wanted


class Stages(nn.Module):
    """Takes one count for each of its stages."""

    def __init__(self, layer_sizes: Any) -> None:
        super().__init__()
        self.first = nn.Sequential(*(nn.Linear(16, 16) for _ in range(layer_sizes[0])))
        self.second = nn.Sequential(*(nn.Linear(16, 16) for _ in range(layer_sizes[1])))
        self.third = nn.Sequential(*(nn.Linear(16, 16) for _ in range(layer_sizes[2])))

    def forward(self, x: Tensor) -> Tensor:
        return self.third(self.second(self.first(x)))


class Staged(nn.Module):
    """Hands its counts on to a part."""

    def __init__(self, num_classes: Any, layer_sizes: Any) -> None:
        super().__init__()
        self.stages = Stages(layer_sizes)
        self.head = nn.Linear(16, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stages(x))


def test_a_list_that_a_part_takes_apart_has_its_length() -> None:
    construction = subject_of_class(Staged).construction
    assert construction is not None
    assert len(construction.arguments["layer_sizes"]) == 3


class FlattensAPair(nn.Module):
    """Writes a tuple where a tensor goes."""

    def __init__(self, width: Any) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, width, 3), nn.Linear(width, 2)

    def forward(self, x: Any) -> Any:
        return self.head(torch.flatten((self.conv(x), 1)))  # type: ignore[arg-type]


def test_a_tuple_in_place_of_a_tensor_is_told() -> None:
    assert subject_of_class(FlattensAPair).doubt == FAILS


class SettingsOfALibrary:
    """No stand-in will do for these."""

    def __init__(self, hidden_size: int = 768, vocab_size: int = 30000) -> None:
        self.hidden_size, self.vocab_size = hidden_size, vocab_size


class OfALibrary(nn.Module):
    """Says by a class attribute what its settings are."""

    config_class = SettingsOfALibrary

    def __init__(self, config: Any) -> None:
        if not isinstance(config, self.config_class):
            raise TypeError(f"config should be an instance of {self.config_class}")
        super().__init__()
        self.config = config


class Classifies(OfALibrary):
    def __init__(self, config: Any, num_labels: int = 2) -> None:
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.head = nn.Linear(config.hidden_size, num_labels)

    def forward(self, input_ids: Tensor) -> Any:
        return self.head(self.embedding(input_ids).mean(1))


def test_a_class_attribute_says_of_which_class_the_settings_are() -> None:
    construction = subject_of_class(Classifies).construction
    assert construction is not None
    assert "SettingsOfALibrary" in construction.arguments["config"].text


class HalfOfAWidth(nn.Module):
    """Half of a width is no whole number in this Python."""

    def __init__(self, hidden_size: Any, output_size: Any) -> None:
        super().__init__()
        self.head = nn.Linear(hidden_size + hidden_size / 2, output_size)

    def forward(self, x: Tensor) -> Any:
        return self.head(x)


def test_a_layer_of_half_a_width_is_told() -> None:
    subject = subject_of_class(HalfOfAWidth)
    assert subject.doubt == FAILS
    (found,) = runner.ask(subject, load("forward-raises")).findings
    assert found.message.startswith("the constructor raised TypeError whatever was tried")
    assert found.fix.startswith("mend the constructor")


class CallsItsOption(nn.Module):
    """Equal widths do not mend that it has no activation; at the first error there is a shortcut, too."""

    def __init__(
        self, in_channels: int, out_channels: int, preactivation: bool = False, activation: Any = None
    ) -> None:
        super().__init__()
        self.activation, self.preactivation = activation, preactivation
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Any:
        h = torch.relu(x) if self.preactivation else x
        return self.conv2(self.activation(self.conv1(h))) + self.shortcut(x)


def built_elsewhere() -> nn.Module:
    """Its like is tried as well, and does not help."""
    return CallsItsOption(8, 16)


def test_an_option_that_forward_calls_is_given() -> None:
    called(CallsItsOption)


class ComesDown(nn.Module):
    """Joins a map, made half as large, to one that is so already: 11 rows are 6."""

    def __init__(self, channels: int, branch_channels: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(channels, branch_channels, 3, stride=2, padding=1)
        self.out = nn.Conv2d(2 * branch_channels, branch_channels, 1)

    def forward(self, x: Tensor, branch: Tensor) -> Any:
        return self.out(torch.cat((self.down(x), branch), 1))


def test_one_of_two_maps_is_half_as_large() -> None:
    _, (x, branch), _ = called(ComesDown)
    assert [-(-side // 2) for side in x.shape[2:]] == [*branch.shape[2:]]


class LooksUpBoth(nn.Module):
    """Casts what it is given in place, and knows the label only sometimes."""

    def __init__(self, vocab: Any = None) -> None:
        super().__init__()
        self.users = nn.Embedding(vocab["user_id"], 16)
        self.items = nn.Embedding(vocab["item_id"], 16)
        self.head = nn.Sequential(nn.Linear(32, 1), nn.Sigmoid())
        self.loss = nn.BCELoss()

    def forward(self, data: Any) -> Any:
        data["user_id"] = data["user_id"].long()
        data["item_id"] = data["item_id"].long()
        pred = self.head(torch.cat([self.users(data["user_id"]), self.items(data["item_id"])], -1))
        return {"pred": pred, "loss": self.loss(pred.squeeze(), data["label"])}


def test_the_keys_of_a_batch_are_read_though_it_is_written_to() -> None:
    _, (data,), _ = called(LooksUpBoth)
    assert {name: value.is_floating_point() for name, value in data.items()} == {
        "item_id": False,
        "label": True,
        "user_id": False,
    }
    assert data["user_id"].shape == (5,)


class ScoresAnItem(nn.Module):
    """Squeezes the column of items that the loader gives it."""

    def __init__(self, n_items: int, embedding_dim: int) -> None:
        super().__init__()
        self.items = nn.Embedding(n_items, embedding_dim)
        self.gru = nn.GRU(embedding_dim, embedding_dim, batch_first=True)
        self.loss = nn.CrossEntropyLoss()

    def score(self, user: Tensor, positive: Tensor) -> Tensor:
        scores = user @ self.items.weight.t()
        return self.loss(scores, positive.squeeze(1).long())

    def forward(self, item_seq: Tensor, item: Tensor) -> Tensor:
        return self.score(self.gru(self.items(item_seq.long()))[0][:, -1, :], item)


def test_a_column_is_given_where_it_is_squeezed() -> None:
    _, (_, item), _ = called(ScoresAnItem)
    assert item.shape == (5, 1)


class Reshapes(nn.Module):
    """Takes a shape, by its name a number."""

    def __init__(self, target: Any) -> None:
        super().__init__()
        self.target = target

    def forward(self, x: Tensor) -> Tensor:
        return x.view((x.size(0),) + self.target)  # noqa: RUF005 - as people write it


def test_a_tuple_is_given_where_one_is_joined() -> None:
    called(Reshapes)


class TagsByParts(nn.Module):
    """Looks up tags that it puts together."""

    def __init__(self, tag_to_ix: Any, embedding_dim: int) -> None:
        super().__init__()
        self.tags = tag_to_ix
        start = tag_to_ix["START"]
        self.inside = [tag_to_ix[f"I_{kind}"] for kind in ("person", "place")]
        self.head = nn.Linear(embedding_dim, len(tag_to_ix) + 0 * start)

    def forward(self, x: Tensor) -> Any:
        return self.head(x)


def test_a_table_gets_the_texts_that_it_lacks() -> None:
    construction = subject_of_class(TagsByParts).construction
    assert construction is not None
    assert {"START", "I_person", "I_place"} <= construction.arguments["tag_to_ix"].keys()


class HalvesItsAngles(nn.Module):
    def __init__(self, hidden_size: Any, capacity: Any) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.FloatTensor(hidden_size / 2, capacity / 2))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.theta


def test_a_tensor_of_half_a_size_is_told() -> None:
    assert subject_of_class(HalvesItsAngles).doubt == FAILS


class FindsItsAncestors(nn.Module):
    """Its last line is that of a derivative: without gradients there is nothing to retain."""

    def __init__(self, n_users: int, embedding_dim: int) -> None:
        super().__init__()
        self.users = nn.Embedding(n_users, embedding_dim)

    def forward(self, user: Tensor) -> Tensor:
        found = self.users(user)
        found.retain_grad()
        return found.sum(-1)


def test_gradients_are_kept_where_they_are_retained() -> None:
    called(FindsItsAncestors)


class NamesItsLayersByWidths(nn.Module):
    """As an old tutorial did, with names that torch no longer takes."""

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        self.main = nn.Sequential()
        self.main.add_module(
            "initial.conv.{0}-{1}".format(channels, features),  # noqa: UP030, UP032 - as it did
            nn.Conv2d(channels, features, 3),
        )

    def forward(self, x: Tensor) -> Any:
        return self.main(x)


class NamesALayerAsTold(nn.Module):
    """Another name would do."""

    def __init__(self, name: Any) -> None:
        super().__init__()
        self.add_module(f"block{name}", nn.Linear(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        return x


class TakesTheLossForALayer(nn.Module):
    """Calls with one tensor what compares two."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.output = nn.Linear(784, 10), nn.CrossEntropyLoss()

    def forward(self, x: Tensor) -> Any:
        return self.output(self.fc(x))


class TakesAnyLoss(nn.Module):
    """Another than ours would do."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.fc, self.output = nn.Linear(784, 10), output

    def forward(self, x: Tensor) -> Any:
        return self.output(self.fc(x))


@pytest.mark.parametrize("cls", [NamesItsLayersByWidths, TakesTheLossForALayer])
def test_what_torch_never_takes_is_told(cls: type[nn.Module]) -> None:
    assert subject_of_class(cls).doubt == FAILS


def test_what_was_given_is_not_blamed_on_the_code() -> None:
    with pytest.raises(KeyError) as dotted:
        NamesALayerAsTold("a.b")
    with pytest.raises(TypeError) as misfit:
        TakesAnyLoss(nn.CrossEntropyLoss())(torch.randn(2, 784))
    assert not slips.is_slip(dotted.value)
    assert not is_certain(misfit.value)


class PicksItsDepth(nn.Module):
    """Knows a few depths only."""

    def __init__(self, depth: Any, num_classes: int) -> None:
        super().__init__()
        blocks = {18: [2, 2], 34: [3, 4]}
        assert blocks[depth], "invalid depth"
        self.layers = nn.Sequential(*(nn.Linear(8, 8) for _ in range(blocks[depth][0])))
        self.head = nn.Linear(8, num_classes)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.layers(x))


def test_a_number_that_picks_from_a_table_is_a_key_of_it() -> None:
    construction = subject_of_class(PicksItsDepth).construction
    assert construction is not None
    assert construction.arguments["depth"] in (18, 34)


class GramOfOneImage(nn.Module):
    """Has no axis for rows; it asks for one image by unpacking them."""

    def forward(self, source: Tensor) -> Tensor:
        _one, channels, high, wide = source.size()
        features = source.view(channels, high * wide)
        return features @ features.t() / (channels * high * wide)


def test_one_image_is_given_to_what_has_no_axis_of_rows() -> None:
    subject = subject_of_class(GramOfOneImage)
    assert subject.doubt != FAILS
    assert subject.inputs(0).args[0].shape[0] == 1
    assert not runner.ask(subject, load("batch-size-fails")).findings


class DeviationOfGroups(nn.Module):
    """Compares the images of each group of four, as the discriminators of StyleGAN do."""

    def __init__(self, group_size: int = 4) -> None:
        super().__init__()
        self.group_size = group_size

    def forward(self, x: Tensor) -> Tensor:
        rows, channels, high, wide = x.shape
        group = min(self.group_size, rows)
        spread = x.reshape([group, -1, channels, high, wide]).std(0).mean([1, 2, 3], keepdim=True)
        return torch.cat([x, spread.repeat(group, 1, high, wide)], 1)


def test_rows_come_in_whole_groups() -> None:
    _, (x,), _ = called(DeviationOfGroups)
    assert x.shape[0] % 4 == 0


class CallsWhatIsAModuleNow(nn.Module):
    """`torch.fft` was a function once."""

    def forward(self, x: Tensor) -> Any:
        return torch.fft(x, 1)  # type: ignore[operator]


def test_a_module_that_is_called_is_told() -> None:
    assert subject_of_class(CallsWhatIsAModuleNow).doubt == FAILS


def test_the_sizes_of_an_addition_in_place_are_a_pair() -> None:
    said = "output with shape [5, 72, 1, 1] doesn't match the broadcast shape [5, 72, 2, 2]"
    assert [*undirected_pairs(said)] == [(1, 2)]


class NormsByItsSettings(nn.Module):
    """LayerNorm makes a tuple of what it is given, and still wants a number."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.hidden_size)
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.out = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x: Tensor) -> Any:
        return self.out(self.norm(x))


def test_a_width_that_torch_makes_a_tuple_of_is_a_width() -> None:
    construction = subject_of_class(NormsByItsSettings).construction
    assert construction is not None
    assert type(construction.arguments["config"].make().hidden_size) is int


class ForgetsItself(nn.Module):
    """Reads what is set in its body without naming itself."""

    growth_of_this = 4

    def __init__(self, width: Any) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width * growth_of_this)  # type: ignore[name-defined]  # noqa: F821

    def forward(self, x: Tensor) -> Any:
        return self.layer(x)


def test_what_a_class_sets_in_its_body_is_no_global() -> None:
    assert subject_of_class(ForgetsItself).doubt == FAILS
