"""What a project says elsewhere of the settings and parts with which a class is built and called."""
# ruff: noqa: ANN001, ANN003, ANN201, ANN204
# mypy: ignore-errors

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from layersmith.load.build import subject_of_class
from layersmith.load.importing import import_target
from layersmith.load.target import Target

HEAD = "import torch\nfrom torch import nn\n"

pytestmark = pytest.mark.usefixtures("fresh_modules")


def of_project(folder: Path, name: str, source: str, **files: str):
    for path, text in {"README.md": "", f"{name}.py": source, "config.json": "{}", **files}.items():
        (folder / path).write_text(text)
    return subject_of_class(import_target(Target(str(folder / f"{name}.py"))).Net)


UPSAMPLER = (
    HEAD
    + """
class Net(nn.Module):
    def __init__(self, h):
        super().__init__()
        self.ups = nn.ModuleList(
            nn.ConvTranspose1d(h.width, h.width, k, u, padding=(k - u) // 2)
            for u, k in zip(h.upsample_rates, h.upsample_kernel_sizes)
        )
        self.blocks = nn.ModuleList(
            nn.Conv1d(h.width, h.width, 3, dilation=d[0], padding=d[1]) for d in h.dilations)

    def forward(self, x):
        for up in self.ups:
            x = up(x)
        for block in self.blocks:
            x = block(x)
        return x
"""
)


def test_lists_of_lists_are_those_of_the_config_file(tmp_path):
    said = '{"upsample_rates": [8, 2], "upsample_kernel_sizes": [16, 4], "dilations": [[1, 1], [3, 3]], "width": 512}'
    subject = of_project(tmp_path, "vocoder_a", UPSAMPLER, **{"config.json": said})
    assert "dilations=[[1, 1], [3, 3]]" in subject.inferred_from
    assert "width=32" in subject.inferred_from  # a number of its own kind stays small


SECTIONED = (
    HEAD
    + """
class Net(nn.Module):
    def __init__(self, config):
        super().__init__()
        layers, sizes = config["transformer"]["layers"], config["transformer"]["kernel_sizes"]
        width = config["transformer"]["width"]
        assert len(sizes) == 2 and sizes[1] == 1
        self.convs = nn.ModuleList(
            nn.Conv1d(width, width, k, padding=k // 2) for k in sizes * layers)

    def forward(self, x):
        for conv in self.convs:
            x = conv(x)
        return x
"""
)


def test_the_sections_of_a_config_are_those_of_the_file(tmp_path):
    said = '{"transformer": {"layers": 2, "kernel_sizes": [9, 1], "width": 256}, "max_seq_len": 1000}'
    subject = of_project(tmp_path, "speech_a", SECTIONED, **{"config.json": said})
    assert "transformer=dict(kernel_sizes=[9, 1]" in subject.inferred_from


def test_a_config_that_is_handed_on_has_what_the_part_reads(tmp_path):
    text = (
        HEAD
        + """
class Part(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        if cfg.decomposition == "average":
            self.inner = nn.Linear(cfg.d_model, cfg.d_model)
        elif cfg.decomposition == "fourier":
            self.inner = nn.Identity()
        else:
            raise ValueError("decomposition is wrong")

    def forward(self, x):
        return self.inner(x)

class Net(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.part = Part(cfg)

    def forward(self, x):
        return self.part(x)
"""
    )
    assert "decomposition='average'" in of_project(tmp_path, "handed_on", text).inferred_from


class Looked(nn.Module):
    """A table that may be left out, and a list of texts and labels that are picked by number."""

    def __init__(self, config):
        super().__init__()
        if config.embedding_pretrained is not None:
            self.embedding = nn.Embedding.from_pretrained(config.embedding_pretrained, freeze=False)
        else:
            self.embedding = nn.Embedding(config.n_vocab, config.embed)

    def forward(self, x):
        return self.embedding(x[0]).mean(1)


class Several(nn.Module):
    def __init__(self, embedding_matrix, opt):
        super().__init__()
        self.opt = opt
        self.embed = nn.Embedding.from_pretrained(torch.tensor(embedding_matrix, dtype=torch.float))
        self.out = nn.Linear(2 * opt.embed_dim, opt.polarities_dim)

    def forward(self, inputs):
        text, aspect = inputs[0], inputs[1]
        lengths = torch.sum(text != 0, dim=-1)
        text, aspect = self.embed(text), self.embed(aspect)
        return self.out(torch.cat([text.sum(1) / (1 + lengths[:, None]), aspect.mean(1)], -1))


class Labelled(nn.Module):
    def __init__(self, features: int, num_classes: int):
        super().__init__()
        self.embed = nn.Linear(num_classes, features)

    def forward(self, input, **kwargs):  # noqa: A002
        return input + self.embed(kwargs["labels"].float())


class Preset(nn.Module):
    """Either a preset is named, or its sizes are given."""

    def __init__(self, config):
        super().__init__()
        assert (config.model_type is not None) ^ (config.n_embd is not None)
        if config.model_type is not None:
            config.n_embd = {"small": 48}[config.model_type]
        self.map = nn.Linear(config.n_embd, config.n_embd)

    def forward(self, x):
        return self.map(x)


class Asserts(nn.Module):
    def __init__(self, channels, n_layers):
        super().__init__()
        self.n_layers = n_layers
        self.maps = nn.ModuleList(nn.Conv1d(channels, channels, 1) for _ in range(n_layers))
        self.cond = nn.Conv1d(1, channels, 1)

    def forward(self, x, w=None, reverse=False):
        if not reverse:
            assert w is not None
            x = x + self.cond(w)
        for index in range(self.n_layers):
            x = self.maps[index](x)
        return x


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (Looked, "embedding_pretrained=None"),
        (Looked, "([i64[5,7]<"),
        (Several, "([i64[5,7]<100, i64[5,7]<100])"),
        (Labelled, "labels="),
        (Preset, "model_type=None"),
        (Asserts, "w=f32[5,1,11]"),
        (Asserts, "2)(f32"),
    ],
)
def test_it_is_called_as_it_reads_its_arguments(cls, said):
    subject = subject_of_class(cls)
    assert said in subject.inferred_from
    assert not subject.doubt


class Forecast(nn.Module):
    """What is said of the target's times is as long as the target that forward makes of the source."""

    def __init__(self, configs):
        super().__init__()
        self.pred_len = configs.pred_len
        self.steps = nn.Linear(configs.seq_len, configs.seq_len)
        self.embed = nn.Linear(configs.enc_in, configs.d_model)
        self.marks = nn.Linear(configs.enc_in, configs.d_model)

    def forward(self, x_enc, x_mark_enc, x_dec, x_mark_dec):
        x_enc = self.steps(x_enc.permute(0, 2, 1)).permute(0, 2, 1)
        last = x_enc[:, -1:].repeat(1, self.pred_len, 1)
        return self.embed(torch.cat([x_enc, last], 1)) + self.marks(x_mark_dec)


def test_one_of_several_sequences_gets_a_length_of_its_own():
    subject = subject_of_class(Forecast)
    assert "(f32[5,24,32], f32[5,24,32], " in subject.inferred_from
    assert not subject.doubt


class Crossed(nn.Module):
    """Every field with every other: as many channels as the square of the fields, which the input has."""

    def __init__(self, input_dim, sizes):
        super().__init__()
        self.maps = nn.ModuleList(nn.Conv1d(input_dim * input_dim, size, 1) for size in sizes)

    def forward(self, x):
        batch, _, width = x.shape
        outer = (x.unsqueeze(2) * x.unsqueeze(1)).view(batch, -1, width)
        return torch.cat([one(outer) for one in self.maps], 1).sum(2)


def test_a_product_of_the_input_with_itself_is_no_fault_of_the_code():
    subject = subject_of_class(Crossed)
    assert "(f32[5,96," in subject.inferred_from
    assert not subject.doubt


class Spells(nn.Module):
    """An alphabet is counted, and whether there is a card is a flag."""

    def __init__(self, args, alphabet_size):
        super().__init__()
        self.use_cuda = args.cuda
        self.letters = nn.Embedding(alphabet_size, args.hidden)

    def forward(self, ids):
        found = self.letters(ids)
        return found.cuda() if self.use_cuda else found


def test_cards_are_flags_and_alphabets_are_counted():
    subject = subject_of_class(Spells)
    assert "cuda=False" in subject.inferred_from
    assert subject.build(0).letters.num_embeddings > 1


NESTED = (
    HEAD
    + """
class Net(nn.Module):
    def __init__(self, config):
        super().__init__()
        settings = config.model.resnet
        assert config.model.init_mode in ("fan_out",)
        assert (settings.depth - 2) % 6 == 0 and settings.depth > 5
        assert settings.block_type == "basic"
        width = settings.initial_channels
        self.convs = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=1) for _ in range((settings.depth - 2) // 6))

    def forward(self, x):
        for conv in self.convs:
            x = conv(x)
        return x
"""
)


def test_settings_of_settings_are_those_that_a_file_assigns(tmp_path):
    said = (
        "from node import Node\nconfig = Node()\nconfig.model = Node()\nconfig.model.init_mode = 'fan_out'\n"
        "config.model.vgg = Node()\nconfig.model.vgg.depth = 9\n"
        "config.model.resnet = Node()\nconfig.model.resnet.depth = 20\n"
        "config.model.resnet.block_type = 'basic'\nconfig.model.resnet.initial_channels = 16\n"
    )
    subject = of_project(tmp_path, "images_a", NESTED, **{"defaults.py": said})
    assert "depth=20" in subject.inferred_from
    assert "init_mode='fan_out'" in subject.inferred_from


SPREAD = (
    HEAD
    + """
import importlib


def instantiate_from_config(config):
    if "target" not in config:
        raise KeyError("Expected key `target` to instantiate.")
    module, cls = config["target"].rsplit(".", 1)
    return getattr(importlib.import_module(module), cls)(**config.get("params", {}))


class Encoder(nn.Module):
    def __init__(self, *, ch, in_channels, z_channels, resolution, double_z=True, dropout=0.0):
        super().__init__()
        self.convs = nn.Sequential(
            nn.Conv2d(in_channels, ch, 3, 2, 1), nn.Conv2d(ch, (1 + double_z) * z_channels, 3, 2, 1))
        assert resolution >= 8

    def forward(self, x):
        return self.convs(x)


class Coder(nn.Module):
    def __init__(self, ddconfig, lossconfig, embed_dim):
        super().__init__()
        self.encoder = Encoder(**ddconfig)
        self.loss = instantiate_from_config(lossconfig)
        self.quant_conv = nn.Conv2d(ddconfig["z_channels"], embed_dim, 1)

    def forward(self, x):
        return self.quant_conv(self.encoder(x))


class Net(Coder):
    def __init__(self, ddconfig, lossconfig, embed_dim, anneal=0.5):
        super().__init__(ddconfig, lossconfig, embed_dim)
        self.anneal = anneal

    def forward(self, x):
        return self.anneal * super().forward(x)
"""
)


def test_settings_that_are_handed_on_whole_are_what_the_class_below_takes(tmp_path):
    said = '{"params": {"ddconfig": {"double_z": false, "z_channels": 256, "resolution": 256}}}'
    subject = of_project(tmp_path, "codes_a", SPREAD, **{"config.json": said})
    assert "'double_z': False" in subject.inferred_from
    assert "{'target': 'torch.nn.Identity'}" in subject.inferred_from
    assert not subject.doubt


OF_SHAPES = (
    HEAD
    + """
class Net(nn.Module):
    def __init__(self, input_dims, width):
        super().__init__()
        channels, sides = input_dims[0], input_dims[1:]
        self.conv = nn.Conv2d(channels, width, 3, padding=1)
        self.head = nn.Linear(width * sides[0] * sides[1], 4)

    def forward(self, x):
        return self.head(self.conv(x).flatten(1))
"""
)


def test_dims_that_are_taken_apart_are_those_of_an_image(tmp_path):
    subject = of_project(tmp_path, "dims_a", OF_SHAPES)
    assert subject.construction.arguments["input_dims"] == (3, 32, 32)
