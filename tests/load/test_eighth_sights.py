"""What the next repositories showed: windows as large as what fits, sizes that scripts write down, layers to wrap."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from layersmith.load import importing, target
from layersmith.load.build import subject_of_class
from layersmith.load.constructor import callsites
from layersmith.load.doubt import FAILS
from layersmith.load.unbuildable import Unbuildable


def _said(cls: type[nn.Module]) -> str:
    """How it is built and called, which works where it is not said to fail."""
    subject = subject_of_class(cls, seconds=20)
    if FAILS not in subject.doubt:
        subject.inputs(0).call(subject.build(0))
    return subject.inferred_from


class Squeezes(nn.Module):
    """A window that fits one size, of widths that have one each; beside a shortcut."""

    expansion = 4

    def __init__(self, inplanes: int, planes: int) -> None:
        super().__init__()
        width = planes * self.expansion
        self.first, self.last = nn.Conv2d(inplanes, planes, 1), nn.Conv2d(planes, width, 3, padding=1)
        if planes == 64:
            self.pool = nn.AvgPool2d(40, stride=1)
        elif planes == 128:
            self.pool = nn.AvgPool2d(20, stride=1)
        self.gate = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.last(self.first(x).relu())
        gate = self.gate(self.pool(y).flatten(1)).sigmoid()
        return x + y * gate[:, :, None, None]


class PicksANorm(nn.Module):
    """One norm for each style, picked by number for each row."""

    def __init__(self, styles: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norms: Any = nn.ModuleList(nn.InstanceNorm2d(8, affine=True) for _ in range(styles))

    def forward(self, x: Tensor, style_id: Tensor) -> Tensor:
        x = self.conv(x)
        return torch.cat([self.norms[style_id[i]](x[i : i + 1]) for i in range(len(style_id))])


class Softens(nn.Module):
    """Takes the axis from a number of channels, which happens to be right for one."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(channels, 8, 3, padding=1), nn.Linear(8, classes)
        self.softmax = nn.LogSoftmax(dim=channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.softmax(self.head(self.conv(x).mean((2, 3))))


class Wraps(nn.Module):
    """A linear layer with a low-rank one beside it."""

    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.linear, self.alpha = linear, alpha
        self.a = nn.Parameter(torch.randn(linear.in_features, rank))
        self.b = nn.Parameter(torch.zeros(rank, linear.out_features))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.linear.weight + self.alpha * (self.a @ self.b).T
        return nn.functional.linear(x, weight, self.linear.bias)


class WrapsWhatever(Wraps):
    """The same without annotations."""

    def __init__(self, linear: Any, rank: Any, alpha: Any) -> None:
        super().__init__(linear, rank, alpha)


class Turns(nn.Module):
    """Turns the heads by angles that it is given as a table of steps and features of one head."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.query = nn.Linear(width, width)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, steps, _ = x.shape
        q = self.query(x).view(batch, steps, self.heads, self.size).transpose(1, 2)
        one, other = q.chunk(2, dim=-1)
        cos, sin = (table[:steps, :].unsqueeze(0).unsqueeze(0) for table in (cos, sin))
        return q * cos + torch.cat((-other, one), -1) * sin


class Splits(nn.Module):
    """Reads one half of its input with a layer that is as wide as that half."""

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(num_channels // 2, num_channels, 3, padding=1)

    def prior(self, z: Tensor) -> Tensor:
        return self.conv(z)

    def forward(self, x: Tensor) -> Tensor:
        kept, gone = x[:, : x.shape[1] // 2], x[:, x.shape[1] // 2 :]
        mean, scale = self.prior(kept).chunk(2, dim=1)
        return (gone - mean) * scale.exp()


class Patches(nn.Module):
    """Cuts videos into blocks of as many frames as it is told, at the one size that it takes."""

    def __init__(self, img_size: int = 32, num_frames: int = 6) -> None:
        super().__init__()
        self.img_size, self.num_frames = img_size, num_frames
        self.proj = nn.Conv3d(3, 8, (2, 8, 8), (2, 8, 8))

    def forward(self, x: Tensor) -> Tensor:
        _, _, frames, height, width = x.shape
        assert (height, width) == (self.img_size, self.img_size)
        return self.proj(x).flatten(2) * frames


class Swaps(nn.Module):
    """Axes by their numbers."""

    def __init__(self, *dims: int) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(*self.dims)


def _checked(images: Tensor) -> Tensor:
    assert images.ndimension() == 4
    return images - images.flatten(1).mean(1)[:, None, None, None]


class Standardises(nn.Module):
    """What it takes is asked for in a function, under another name."""

    def forward(self, tensor: Tensor) -> Tensor:
        return _checked(tensor)


class TakesAConfigAsItLikes(nn.Module):
    """By keys and by attributes, as ml_collections have it."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.first = nn.Linear(config.hidden_size, config["mlp_dim"])
        self.last = nn.Linear(config["mlp_dim"], config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x).relu())


class Stacks(nn.Module):
    """As many levels as a letter says."""

    def __init__(self, channels: int, K: int, L: int) -> None:  # noqa: N803 - as in papers
        super().__init__()
        self.layers = nn.ModuleList()
        for level in range(L):
            self.layers.extend(nn.Conv2d(channels * 4**level, channels * 4**level, 1) for _ in range(K))

    def forward(self, x: Tensor) -> Tensor:
        for index, layer in enumerate(self.layers):
            if index and layer.in_channels != x.shape[1]:
                x = nn.functional.pixel_unshuffle(x, 2)
            x = layer(x)
        return x


class Modulates(nn.Module):
    """One vector a row, of which a layer makes six."""

    def __init__(self, dim: int, cond_width: int = 64) -> None:
        super().__init__()
        self.norm, self.ada = nn.LayerNorm(dim), nn.Linear(cond_width, 6 * dim)

    def forward(self, x: Tensor, global_cond: Tensor) -> Tensor:
        shift, scale, gate, *_ = self.ada(global_cond).chunk(6, dim=1)
        return x + gate.unsqueeze(1) * (self.norm(x) * scale.unsqueeze(1) + shift.unsqueeze(1))


class AddsItsPlaces(nn.Module):
    """Channels come last, beside which it lays the places; of a spectrum it keeps the first modes."""

    def __init__(self, in_channels: int = 1, modes: int = 12) -> None:
        super().__init__()
        self.first, self.last, self.modes = nn.Linear(in_channels + 2, 8), nn.Linear(8, 1), modes
        self.weight = nn.Parameter(torch.rand(8, 8, modes, modes, dtype=torch.cfloat) / 64)

    def forward(self, x: Tensor) -> Tensor:
        _, high, wide, _ = x.shape
        rows = torch.linspace(0, 1, high).to(x)[None, :, None, None].expand(len(x), -1, wide, -1)
        columns = torch.linspace(0, 1, wide).to(x)[None, None, :, None].expand(len(x), high, -1, -1)
        y = self.first(torch.cat((x, rows, columns), -1)).permute(0, 3, 1, 2)
        seen = torch.fft.rfft2(y)
        kept = torch.zeros_like(seen)
        first = (slice(None), slice(None), slice(self.modes), slice(self.modes))
        kept[first] = torch.einsum("bixy,ioxy->boxy", seen[first], self.weight)
        return self.last((y + torch.fft.irfft2(kept, s=(high, wide))).permute(0, 2, 3, 1))


class CopiesItsConfig(nn.Module):
    """Reads a copy of the settings that it is given, of which some have defaults."""

    def __init__(self, ddconfig: Any) -> None:
        super().__init__()
        settings = dict(ddconfig)
        self.head = nn.Linear(settings["z_channels"], settings.pop("width", 8))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x)


class Queues(nn.Module):
    """A queue of keys, which whole batches fill."""

    def __init__(self, dim: int = 32, length: int = 64) -> None:
        super().__init__()
        self.length, self.head = length, nn.Linear(dim, dim)

    def forward(self, keys: Tensor) -> Tensor:
        batch_size = keys.shape[0]
        assert self.length % batch_size == 0
        return self.head(keys)


class Tags(nn.Module):
    """A list of tags for each sentence, or a loss where those are given that are right."""

    def __init__(self, vocab_size: int, tags_count: int = 3) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(vocab_size, 8), nn.Linear(8, tags_count)

    def forward(self, sentences: Tensor, tags: Tensor | None = None) -> Any:
        scores = self.head(self.words(sentences))
        if tags is not None:
            return scores.gather(2, tags[..., None]).mean().neg()
        return scores.argmax(-1).tolist()


class Couples(nn.Module):
    """Halves of two features, scaled by turns; a logarithm a row."""

    def __init__(self, dim: int = 2) -> None:
        super().__init__()
        self.net = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scale = self.net(x).tanh()
        return x * scale.exp(), x.new_zeros(x.shape[0]) + scale.sum(-1)


class Styles(nn.Module):
    """Scales the channels of an image by a vector that it is given beside it."""

    def __init__(self, in_ch: int, style_dim: int) -> None:
        super().__init__()
        self.scale, self.conv = nn.Linear(style_dim, in_ch), nn.Conv2d(in_ch, in_ch, 3, padding=1)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        return self.conv(x * self.scale(w).view(len(x), -1, 1, 1))


class Denoises(nn.Module):
    """Images of which each has one class."""

    def __init__(self, in_channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, 8, 3, padding=1)
        self.label, self.last = nn.Embedding(classes, 8), nn.Conv2d(8, in_channels, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        found = self.label(y)
        return self.last(self.first(x) + found.unsqueeze(-1).unsqueeze(-1))


class Renders(nn.Module):
    """Points along rays, and the direction of each ray."""

    def __init__(self) -> None:
        super().__init__()
        self.points, self.both = nn.Linear(3, 8), nn.Linear(11, 3)

    def forward(self, pts: Tensor, dirs: Tensor | None = None) -> Tensor:
        along = nn.functional.normalize(dirs, dim=-1)[..., None, :].expand(*pts.shape[:-1], -1)  # type: ignore[arg-type]
        return self.both(torch.cat([self.points(pts), along], -1))


class Weighs(nn.Module):
    """Makes the weights of a layer for coordinates of two numbers."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.trunk = nn.Linear(latent_dim, 2 * 4)

    def forward(self, z: Tensor, coords: Tensor) -> Tensor:
        return torch.bmm(coords, self.trunk(z).view(-1, 2, 4))


@pytest.mark.parametrize(
    ("cls", "says"),
    [
        (Squeezes, "Squeezes(256, 64)(f32[5,256,40,40])"),
        (PicksANorm, "i64[5]<"),
        (Softens, "Softens(1, "),
        (Wraps, "Linear(96, 64), 4, "),
        (WrapsWhatever, "nn.Linear(32, 32), 4, "),
        (Turns, "Turns("),
        (Splits, "Splits(32)(f32[5,32,"),
        (Patches, "f32[5,3,6,32,32]"),
        (Swaps, "Swaps(1, 2)"),
        (Standardises, "f32[5,7,11,13]"),
        (TakesAConfigAsItLikes, "SimpleNamespace("),
        (Stacks, "Stacks("),
        (Modulates, "f32[5,64]"),
        (Denoises, "i64[5]<"),
        (CopiesItsConfig, "{'z_channels': "),
        (Queues, "(f32[4,"),
        (Tags, "(i64[5,7]<100, tags=i64[5,7]<3)"),
        (Couples, "(f32[5,2])"),
        (Styles, "f32[5,96,11,13], f32[5,32]"),
        (AddsItsPlaces, "f32[5,32,32,1]"),
        (Renders, "f32[5,7,3], dirs=f32[5,3]"),
        (Weighs, "f32[5,7,2]"),
    ],
)
def test_is_called(cls: type[nn.Module], says: str) -> None:
    said = _said(cls)
    assert says in said
    assert FAILS not in said


def test_a_layer_whose_widths_are_read_is_no_stand_in() -> None:
    assert not subject_of_class(WrapsWhatever, seconds=20).doubt


class CallsAShape(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + torch.zeros(x.shape(0), 1)  # type: ignore[operator]


class StartsByAWrongName(nn.Module):
    def __init__(self, width: int) -> None:
        super()._init_()  # type: ignore[misc]
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


def test_what_fails_whatever_is_given_is_said_so() -> None:
    assert FAILS in _said(CallsAShape)
    assert FAILS in _said(StartsByAWrongName)


NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.pool = nn.Conv3d(1, 2, 3, padding=1), nn.MaxPool3d((2, 4, 4))
        self.head = nn.Linear(2 * 3 * 5 * 8, 4)

    def forward(self, x):
        return self.head(self.pool(self.conv(x)).flatten(1))
"""


@pytest.mark.parametrize(
    "use",
    [
        "from torchsummary import summary\nsummary(Net(), (1, 6, 20, 32), device='cpu')",
        "from torchinfo import summary\nsummary(Net(), input_size=(8, 1, 6, 20, 32))",
        "depth = 6\nnet = Net()\nx = torch.rand(2, 1, depth, 20, 32)",
        "def test():\n    assert Net()(torch.zeros(size=(2, 1, 6, 20, 32))).shape == (2, 4)",
    ],
)
def test_sizes_that_scripts_write_down_are_tried(tmp_path: Path, use: str) -> None:
    (tmp_path / "sized.py").write_text(f"{NET}\nif __name__ == '__main__':\n    pass\n")
    (tmp_path / "train.py").write_text(f"import torch\nfrom sized import Net\n{use}\n")
    cls = importing.import_target(target.parse(str(tmp_path / "sized.py"))[0]).Net
    assert "(f32[5,1,6,20,32])" in _said(cls)


def test_arguments_beside_more_are_read_of_a_call(tmp_path: Path) -> None:
    source = (
        "from torch import nn\n\nSTAGES = [['conv', 8], ['pool', 0]]\n\nclass Net(nn.Module):\n"
        "    def __init__(self, stages, drop, classes=10):\n        super().__init__()\n\n"
        "    def forward(self, x):\n        return x\n\n"
        "def net(**kwargs):\n    return Net(STAGES, 0.25, **kwargs)\n"
    )
    (tmp_path / "staged.py").write_text(source)
    cls = importing.import_target(target.parse(str(tmp_path / "staged.py"))[0]).Net
    assert callsites.farther(cls) == [{"stages": [["conv", 8], ["pool", 0]], "drop": 0.25}]


class Heavy(nn.Module):
    """Takes longer than anyone waits for by default, and is quick when it is small."""

    def __init__(self, dim: int = 512, depth: int = 12) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(dim, dim) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            for _ in range(len(self.layers) ** 4):
                x = layer(x).tanh()
        return x


def test_what_takes_all_the_time_is_tried_small() -> None:
    assert "made small" in subject_of_class(Heavy, seconds=2).inferred_from


class NeedsMore(nn.Module):
    """Nothing that it is given will do."""

    def forward(self, x: Tensor) -> Tensor:
        raise ValueError(x.shape)


def test_what_refuses_all_is_said_so() -> None:
    with pytest.raises(Unbuildable):
        subject_of_class(NeedsMore, seconds=5)
