"""What a constructor, a config or forward does with a value says what the value is."""
# ruff: noqa: ANN001, ANN201, ANN204
# mypy: ignore-errors

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name that everyone knows
from torch import nn

from layersmith.load.build import subject_of_class


class Symmetric(nn.Module):
    def __init__(self, dim, preserve_symmetry):
        super().__init__()
        self.linear = nn.Linear(dim, dim)
        self.preserve_symmetry = preserve_symmetry

    def forward(self, x):
        return self.linear(x) - self.linear(-x) if self.preserve_symmetry else self.linear(x)


class Decomposed(nn.Module):
    """A kernel and a flag under names that say nothing, in a config."""

    def __init__(self, configs):
        super().__init__()
        self.individual = configs.individual
        self.smooth = nn.AvgPool1d(kernel_size=configs.moving, stride=1, padding=(configs.moving - 1) // 2)
        self.linear = nn.Linear(configs.seq_len, configs.pred_len)

    def forward(self, x):
        trend = self.smooth(x.permute(0, 2, 1))
        return self.linear(trend + 1 if self.individual else trend)


class Marked(nn.Module):
    """A sequence, by what its config says, and marks of each step beside it."""

    def __init__(self, args):
        super().__init__()
        self.values = nn.Linear(args.enc_in, args.d_model)
        self.marks = nn.Linear(4, args.d_model)

    def forward(self, x_enc, x_mark_enc):
        return self.values(x_enc) + self.marks(x_mark_enc)


class Residual(nn.Module):
    """Its own output's derivative is its output."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, points):
        points = points.clone().requires_grad_(True)
        return torch.autograd.grad(self.net(points).sum(), points, create_graph=True)[0]


class ConditionedDigits(nn.Module):
    def __init__(self):
        super().__init__()
        self.labels = nn.Embedding(10, 10)
        self.model = nn.Linear(10 + 28 * 28, 1)

    def forward(self, img, labels):
        return self.model(torch.cat((img.flatten(1), self.labels(labels)), -1))


class Enlarged(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        x = F.interpolate(x, scale_factor=2)
        return self.conv(x)


class Normalised(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))

    def forward(self, x, mode: str):
        if mode == "norm":
            return x * self.scale
        if mode == "denorm":
            return x / self.scale
        raise NotImplementedError


class PaddedEncoder(nn.Module):
    """The longest row is as long as the batch: otherwise its mask does not fit what comes back."""

    def __init__(self, vocab_size, dim):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, dim)
        self.rnn = nn.GRU(dim, dim, batch_first=True)

    def forward(self, tokens, src_len):
        packed = nn.utils.rnn.pack_padded_sequence(self.embedding(tokens), src_len.cpu(), batch_first=True)
        outputs, _ = nn.utils.rnn.pad_packed_sequence(self.rnn(packed)[0], batch_first=True)
        return outputs * (tokens != 0).unsqueeze(-1)


class Attended(nn.Module):
    """A mask that it cannot do without."""

    def __init__(self, dim):
        super().__init__()
        self.score = nn.Linear(dim, 1)

    def forward(self, states, mask):
        scores = self.score(states).squeeze(-1)
        return scores.masked_fill(mask == 0, -1e9).softmax(1)


class Step(nn.Module):
    """One token for each row, and the state that two inputs are laid beside."""

    def __init__(self, vocab_size, emb_dim, hid_dim):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, emb_dim)
        self.rnn = nn.GRU(emb_dim, hid_dim)

    def forward(self, input, hidden):  # noqa: A002 - as tutorials name it
        input = input.unsqueeze(0)  # noqa: A001
        output, hidden = self.rnn(self.embedding(input), hidden.unsqueeze(0))
        return output.squeeze(0)


class SideBySide(nn.Module):
    """Widths that only their sum tells."""

    def __init__(self, wide, narrow):
        super().__init__()
        self.linear = nn.Linear(2 * wide + narrow, narrow)

    def forward(self, one, other):
        return self.linear(torch.cat((one, other), dim=1))


class Pairs(nn.Module):
    def forward(self, output1, output2, label):
        distance = F.pairwise_distance(output1, output2)
        return ((1 - label) * distance + label * F.relu(1 - distance)).mean()


class Diffusion(nn.Module):
    def __init__(self, steps):
        super().__init__()
        self.register_buffer("alphas", torch.linspace(0.9, 0.1, steps))

    def forward(self, x_0):
        t = torch.randint(len(self.alphas), (x_0.shape[0],))
        return self.alphas[t].view(-1, 1, 1, 1) * x_0


class Rotated(nn.Module):
    def __init__(self, dim, n_heads):
        super().__init__()
        self.n_heads = n_heads
        self.wq = nn.Linear(dim, dim)

    def forward(self, x, freqs_cis):
        b, t, _ = x.shape
        q = torch.view_as_complex(self.wq(x).view(b, t, self.n_heads, -1, 2))
        return torch.view_as_real(q * freqs_cis.view(1, t, 1, -1)).flatten(2)


class FeatureHead(nn.Module):
    """`video` is what a linear map takes: features of each frame, no frames."""

    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(width, 8)

    def forward(self, video):
        return self.linear(video).mean(1)


KINDS = [
    (Decomposed, ["3f"]),
    (Marked, ["3f", "3f"]),
    (Residual, ["2f"]),
    (ConditionedDigits, ["4f", "1i"]),
    (Enlarged, ["4f"]),
    (PaddedEncoder, ["2i", "1i"]),
    (Attended, ["3f", "2b"]),
    (Step, ["1i", "2f"]),
    (SideBySide, ["2f", "2f"]),
    (Pairs, ["2f", "2f", "1i"]),
    (Diffusion, ["4f"]),
    (Rotated, ["3f", "2c"]),
]


@pytest.mark.parametrize(("cls", "kinds"), KINDS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_class_is_called_with_the_ranks_and_dtypes_of_its_use(
    cls: type[nn.Module], kinds: list[str]
) -> None:
    assert [kind(tensor) for tensor in subject_of_class(cls).inputs(0).args] == kinds


def test_what_is_only_asked_whether_it_is_true_is_a_flag() -> None:
    assert subject_of_class(Symmetric).inferred_from.startswith("Symmetric(32, False)")


def test_a_kernel_in_a_config_is_known_by_what_it_becomes() -> None:
    assert "individual=False, moving=3" in subject_of_class(Decomposed).inferred_from


def test_an_argument_that_is_compared_with_texts_is_one_of_them() -> None:
    assert subject_of_class(Normalised).inputs(0).args[1] == "norm"


def test_a_name_of_images_does_not_outweigh_a_linear_map() -> None:
    assert subject_of_class(FeatureHead).inputs(0).args[0].dim() <= 3


def kind(tensor: torch.Tensor) -> str:
    if tensor.dtype is torch.bool:
        return f"{tensor.dim()}b"
    return f"{tensor.dim()}{'c' if tensor.is_complex() else 'f' if tensor.is_floating_point() else 'i'}"


class Detector(nn.Module):
    """As many channels as anchors, in lists that are empty by default."""

    def __init__(self, classes=3, anchors=(), channels=()):
        super().__init__()
        self.each = len(anchors[0]) // 2
        self.layers = nn.ModuleList(nn.Conv2d(c, self.each * classes, 1) for c in channels)
        self.count = len(anchors)

    def forward(self, x):
        return [self.layers[i](x[i]) for i in range(self.count)]


def test_lists_that_are_empty_by_default_are_filled_alike() -> None:
    case = subject_of_class(Detector).case()
    maps = case.inputs.args[0]
    assert len(case.module.layers) == len(maps) > 1
    assert {one.dim() for one in maps} == {4}


class OnBackbone(nn.Module):
    def __init__(self, backbone, classes):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Conv2d(512, classes, 1)

    def forward(self, x):
        return self.head(self.backbone(x))


def test_a_stand_in_for_a_backbone_ends_as_wide_as_the_head_takes() -> None:
    subject = subject_of_class(OnBackbone)
    assert subject.case().run().shape[1] == 10
    assert subject.doubt == "backbone is a stand-in"


class Settings(nn.Module):
    """Settings that go by another name, are picked with a default, or are a dict's."""

    def __init__(self, cfg):
        super().__init__()
        kernels = cfg.model.kernel_sizes
        self.layers = nn.ModuleList(nn.Conv2d(cfg.model.in_channels, 8, k, padding=k // 2) for k in kernels)
        self.dropout = nn.Dropout(cfg.model.get("dropout", 0.1))

    def forward(self, x):
        return self.dropout(sum(layer(x) for layer in self.layers))


class Recurrent(nn.Module):
    def __init__(self, params: dict):
        super().__init__()
        layer = {"lstm": nn.LSTM, "gru": nn.GRU}[params["kind"]]
        self.embedding = nn.Embedding(params["vocab_size"], params["embedding_dim"])
        self.rnn = layer(params["embedding_dim"], params["hidden_dim"], params.get("n_layers", 1))
        self.activation = getattr(nn, params["activation"])()

    def forward(self, token_ids):
        return self.activation(self.rnn(self.embedding(token_ids))[0])


class Coupling(nn.Module):
    """It takes its channels apart: none of them is wrong."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels // 2, channels // 2, 3, padding=1)

    def forward(self, input):  # noqa: A002 - as flows name it
        first, second = input.chunk(2, 1)
        return torch.cat((first, second + self.conv(first)), 1)


class Waveform(nn.Module):
    def __init__(self, channels=4):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(1, channels, 80, stride=16), nn.MaxPool1d(4), nn.Conv1d(channels, 8, 3)
        )

    def forward(self, x):
        return self.layers(x)


class Sinusoids(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        frequencies = torch.exp(-torch.arange(self.dim // 2) / self.dim)
        phases = x[:, None] * frequencies[None, :]
        return torch.cat((phases.sin(), phases.cos()), dim=-1)


class Quantiles(nn.Module):
    def __init__(self, quantiles):
        super().__init__()
        self.quantiles = quantiles

    def forward(self, predictions, target):
        errors = [target - predictions[:, i] for i, _ in enumerate(self.quantiles)]
        return sum(torch.max((q - 1) * e, q * e).mean() for q, e in zip(self.quantiles, errors, strict=True))


class MixedBatch(nn.Module):
    def __init__(self):
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(10, 8) for _ in range(3))
        self.linear = nn.Linear(4, 8)

    def forward(self, batch):
        known = [layer(batch["sparse"][:, i]) for i, layer in enumerate(self.embeddings)]
        return sum(known) + self.linear(batch["dense"])


MORE = [
    (Settings, ["4f"]),
    (Recurrent, ["2i"]),
    (Coupling, ["4f"]),
    (Waveform, ["3f"]),
    (Sinusoids, ["1f"]),
]


@pytest.mark.parametrize(("cls", "kinds"), MORE, ids=lambda value: getattr(value, "__name__", ""))
def test_so_is_a_class_whose_settings_or_sizes_take_more_reading(
    cls: type[nn.Module], kinds: list[str]
) -> None:
    subject = subject_of_class(cls)
    assert not subject.doubt
    assert [kind(tensor) for tensor in subject.inputs(0).args] == kinds


def test_quantiles_are_a_list_of_shares() -> None:
    assert subject_of_class(Quantiles).inferred_from.startswith("Quantiles([0.5, 0.5])")


def test_only_the_part_of_a_batch_that_is_looked_up_becomes_integers() -> None:
    batch = subject_of_class(MixedBatch).inputs(0).args[0]
    assert (kind(batch["sparse"]), kind(batch["dense"])) == ("2i", "2f")


def test_a_d_that_must_be_given_is_a_width() -> None:
    class Mixer(nn.Module):
        def __init__(self, d: int, groups: int = 4) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(groups, d // groups, d // groups))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            grouped = x.unflatten(-1, (len(self.weight), -1))
            return torch.einsum("...gi,gio->...go", grouped, self.weight).flatten(-2)

    assert subject_of_class(Mixer).inferred_from.startswith("Mixer(32)(f32[5,")
