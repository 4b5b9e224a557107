"""The arguments that inference chooses: what people would pass, for constructions and calls of many kinds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name that everyone knows
from torch import Tensor, nn

from layersmith.load.build import subject_of_class


class Pyramid(nn.Module):
    def __init__(self, in_channels_list: Any, out_channels: int = 16) -> None:
        super().__init__()
        self.inner = nn.ModuleList([nn.Conv2d(c, out_channels, 1) for c in in_channels_list])

    def forward(self, inputs: Any) -> Any:
        return [layer(x) for layer, x in zip(self.inner, inputs, strict=True)]


class KeyedPyramid(nn.Module):
    def __init__(self, channels: Any = {"c3": 8, "c4": 16}) -> None:  # noqa: B006
        super().__init__()
        self.lateral = nn.ModuleDict({k: nn.Conv2d(c, 4, 1) for k, c in channels.items()})

    def forward(self, x: Any) -> Any:
        top = self.lateral["c4"](x["c4"])
        return self.lateral["c3"](x["c3"]) + F.interpolate(top, size=x["c3"].shape[-2:])


class SharedHead(nn.Module):
    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, num_classes, 3, padding=1)

    def forward(self, x: Any) -> Any:
        return torch.cat([self.conv(level).flatten(2) for level in x], dim=2)


class Fusion(nn.Module):
    def __init__(self, image_dim: int, text_dim: int, num_classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(image_dim + text_dim, num_classes)

    def forward(self, batch: Any) -> Any:
        logits = self.fc(torch.cat([batch["image"], batch["text"]], -1))
        return F.cross_entropy(logits, batch["labels"])


class Critic(nn.Module):
    def __init__(self, state_dim: int, action_dim: int) -> None:
        super().__init__()
        self.q = nn.Linear(state_dim + action_dim, 1)

    def forward(self, state: Any, action: Any) -> Any:
        return self.q(torch.cat([state, action], 1))


class BoxLoss(nn.Module):
    def forward(self, pred: Any, target: Any) -> Any:
        top = torch.max(pred[:, :2], target[:, :2])
        bottom = torch.min(pred[:, 2:], target[:, 2:])
        area = (pred[:, 2] - pred[:, 0]) * (pred[:, 3] - pred[:, 1])
        return (bottom - top).clamp(min=0).prod(1) / (area + 1e-6)


class Readout(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc = nn.Linear(dim, 2)

    def forward(self, x: Any, batch: Any) -> Any:
        count = int(batch.max()) + 1
        return self.fc(torch.zeros(count, x.size(1)).index_add_(0, batch, x))


class Columns(nn.Module):
    def __init__(self, emb_szs: Any, n_cont: int, layers: Any) -> None:
        super().__init__()
        self.embeds = nn.ModuleList([nn.Embedding(ni, nf) for ni, nf in emb_szs])
        width = n_cont + sum(nf for _, nf in emb_szs)
        parts: list[nn.Module] = []
        for size in layers:
            parts += [nn.Linear(width, size), nn.ReLU()]
            width = size
        self.layers = nn.Sequential(*parts)

    def forward(self, x_cat: Any, x_cont: Any) -> Any:
        embedded = [e(x_cat[:, i]) for i, e in enumerate(self.embeds)]
        return self.layers(torch.cat([*embedded, x_cont], 1))


class Coupling(nn.Module):
    def __init__(self, dim: int, mask: Any) -> None:
        super().__init__()
        self.register_buffer("mask", mask)
        self.scale = nn.Linear(dim, dim)

    def forward(self, x: Any) -> Any:
        return x * torch.exp(self.scale(x * self.mask))


class Experts(nn.Module):
    def __init__(self, experts: Any) -> None:
        super().__init__()
        assert len(experts) > 0
        self.experts = nn.ModuleList(experts)

    def forward(self, x: Any) -> Any:
        return sum(expert(x) for expert in self.experts)


class Agent(nn.Module):
    def __init__(self, envs: Any) -> None:
        super().__init__()
        self.actor = nn.Linear(envs.observation_space.shape[0], envs.action_space.n)

    def forward(self, x: Any) -> Any:
        return self.actor(x)


class SuperResolution(nn.Module):
    def __init__(self, args: Any) -> None:
        super().__init__()
        self.up = nn.Conv2d(args.n_colors, args.n_colors * args.scale[0] ** 2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(args.scale[0])

    def forward(self, x: Any) -> Any:
        return self.shuffle(self.up(x))


@dataclass
class ModelArgs:
    dim: int = 4096
    vocab_size: int = -1  # set by the tokenizer


class Language(nn.Module):
    def __init__(self, params: ModelArgs) -> None:
        super().__init__()
        self.embed = nn.Embedding(params.vocab_size, params.dim)

    def forward(self, tokens: Any) -> Any:
        return self.embed(tokens)


class Bottleneck(nn.Module):
    def __init__(self, inplanes: int, planes: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(inplanes, planes, 1)
        self.up = nn.Conv2d(planes, planes * 4, 1)

    def forward(self, x: Any) -> Any:
        return x + self.up(self.down(x))


class Windows(nn.Module):
    def __init__(self, dim: int, input_resolution: Any, window_size: int = 7) -> None:
        super().__init__()
        self.input_resolution, self.window_size = input_resolution, window_size
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Any) -> Any:
        h, w = self.input_resolution
        b, length, c = x.shape
        assert length == h * w, "input feature has wrong size"
        s = self.window_size
        return self.proj(x.view(b, h // s, s, w // s, s, c))


class Anchors(nn.Module):
    def __init__(self, num_classes: int = 4) -> None:
        super().__init__()
        self.num_classes = num_classes

    def forward(self, x: Any) -> Any:
        n, _, g, _ = x.shape
        return x.view(n, 3, self.num_classes + 5, g, g).permute(0, 1, 3, 4, 2)


class Spectrum(nn.Module):
    def forward(self, x: Any) -> Any:
        """x: (B, T)"""
        return torch.stft(x, 256, 64, window=torch.hann_window(256), return_complex=True).abs()


class Renderer(nn.Module):
    def forward(self, raw: Any, depths: Any) -> Any:
        """raw: [num_rays, num_samples, 4], depths: [num_rays, num_samples]"""
        return (torch.sigmoid(raw[..., :3]) * torch.relu(raw[..., 3:]) * depths[..., None]).sum(-2)


class Vocoder(nn.Module):
    def __init__(self, mel_channels: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.ReflectionPad1d(3), nn.Conv1d(mel_channels, 8, 7))

    def forward(self, mel: Any) -> Any:
        return self.net((mel + 5.0) / 5.0)


class Tags(nn.Module):
    def __init__(self, num_tags: int) -> None:
        super().__init__()
        self.num_tags = num_tags
        self.start = nn.Parameter(torch.zeros(num_tags))

    def forward(self, emissions: Tensor, tags: torch.LongTensor) -> Tensor:
        if emissions.size(2) != self.num_tags:
            raise ValueError(f"expected last dimension {self.num_tags}, got {emissions.size(2)}")
        return self.start[tags[0]] + emissions.gather(2, tags.unsqueeze(2)).sum()


class Bags(nn.Module):
    def __init__(self, vocab_size: int, embed_dim: int) -> None:
        super().__init__()
        self.embedding = nn.EmbeddingBag(vocab_size, embed_dim)

    def forward(self, text: Any, offsets: Any) -> Any:
        return self.embedding(text, offsets)


class Noisy(nn.Module):
    def __init__(self, d_model: int, dropout: float | Any) -> None:
        super().__init__()
        self.drop = nn.Dropout(dropout)
        self.fc = nn.Linear(d_model, d_model)

    def forward(self, x: Any) -> Any:
        return self.drop(self.fc(x))


class Chomped(nn.Module):
    def __init__(self, n_inputs: Any, n_outputs: Any, kernel_size: Any, dilation: Any, padding: Any) -> None:
        super().__init__()
        self.conv = nn.Conv1d(n_inputs, n_outputs, kernel_size, padding=padding, dilation=dilation)
        self.chomp = padding

    def forward(self, x: Any) -> Any:
        return self.conv(x)[:, :, : -self.chomp]


def temporal(kernel_size: int, dilation_size: int) -> nn.Module:
    return Chomped(4, 4, kernel_size, dilation=dilation_size, padding=(kernel_size - 1) * dilation_size)


@pytest.mark.parametrize(
    ("cls", "call"),
    [
        (Pyramid, "([f32[5,48,32,32], f32[5,32,16,16]])"),
        (KeyedPyramid, "({'c3': f32[5,8,32,32], 'c4': f32[5,16,16,16]})"),
        (SharedHead, "([f32[5,96,32,32], f32[5,96,16,16]])"),
        (Fusion, "({'image': f32[5,32], 'labels': i64[5]<10, 'text': f32[5,32]})"),
        (Critic, "(f32[5,96], f32[5,64])"),
        (BoxLoss, "(f32[5,4], f32[5,4])"),
        (Readout, "(f32[11,32], i64[11]<2)"),
        (Anchors, "(f32[5,27,11,11])"),
        (Spectrum, "(f32[5,512])"),
        (Renderer, "(f32[5,7,4], f32[5,7])"),
        (Vocoder, "(f32[5,32,11])"),
        (Bags, "(i64[11]<100, i64[5]<1)"),
    ],
)
def test_a_call_is_as_people_make_it(cls: type[nn.Module], call: str) -> None:
    assert call in subject_of_class(cls).inferred_from


@pytest.mark.parametrize(
    ("cls", "construction"),
    [
        (Columns, "Columns([(100, 32), (100, 32)], 32, [48, 32])(i64[5,2]<4, f32[5,32])"),
        (Coupling, "Coupling(32, f32[32]<1)"),
        (Experts, "Experts([nn.Linear(32, 32), nn.Linear(32, 32)])"),
        (Agent, "observation_space=SimpleNamespace(shape=(32,))"),
        (SuperResolution, "scale=[2, 2]"),
        (Language, "ModelArgs(dim=32, vocab_size=100)"),
        (Windows, "window_size=4"),
        (Noisy, "Noisy(32, 0.0)"),
        (Chomped, "padding=2"),
    ],
)
def test_a_construction_is_as_people_make_it(cls: type[nn.Module], construction: str) -> None:
    assert construction in subject_of_class(cls).inferred_from


def test_a_width_grows_to_that_of_the_sum_it_takes_part_in() -> None:
    subject = subject_of_class(Bottleneck)
    down: Any = subject.build(0).get_submodule("down")
    assert down.in_channels == 4 * down.out_channels
    assert not subject.doubt


def test_class_numbers_are_told_by_an_old_tensor_type() -> None:
    _, tags = subject_of_class(Tags).inputs(0).args
    assert tags.dtype is torch.int64


class Conditional(nn.Module):
    """Takes labels only when it was told how many there are."""

    def __init__(self, num_classes: int | None = None) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)
        if num_classes is not None:
            self.label_emb = nn.Embedding(num_classes, 8)

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        x = self.linear(x)
        if y is not None:
            x = x + self.label_emb(y)
        return x


def test_an_option_behind_what_forward_misses_is_given() -> None:
    subject = subject_of_class(Conditional)
    assert "num_classes=" in subject.inferred_from
    assert "a guess" not in subject.inferred_from


class Modulates(nn.Module):
    """Tokens here are vectors: nothing looks numbers up."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim, 2 * dim)

    def forward(self, tokens: Any, cond: Any) -> Any:
        gamma, beta = self.proj(cond)[:, None].chunk(2, -1)
        return tokens * gamma + beta


def test_tokens_of_a_module_without_a_table_are_vectors() -> None:
    tokens = subject_of_class(Modulates).inputs(0).args[0]
    assert (tokens.ndim, tokens.dtype) == (3, torch.float32)


class HeadsOfCategories(nn.Module):
    """As many heads as it is told, each as wide as a list says."""

    def __init__(self, dim: int, len_feats: int, categories: Any) -> None:
        super().__init__()
        self.heads = nn.ModuleList([nn.Linear(dim, categories[i]) for i in range(len_feats)])

    def forward(self, x: Tensor) -> list[Tensor]:
        return [head(x[:, i]) for i, head in enumerate(self.heads)]


class RowsByColumns(nn.Module):
    """Its width is a product of two that are each no more than large."""

    def __init__(self, dim: int, nfeats: int) -> None:
        super().__init__()
        wide = nfeats * dim * 8
        self.linear = nn.Linear(wide, wide)
        self.nfeats = nfeats

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


def test_a_count_is_no_larger_than_the_list_that_it_counts() -> None:
    subject = subject_of_class(HeadsOfCategories)
    assert "dim=2" not in subject.inferred_from
    assert len(subject.build(0).heads) == 2  # type: ignore[arg-type]


def test_widths_whose_product_is_too_large_are_quartered() -> None:
    assert subject_of_class(RowsByColumns).build(0).linear.in_features < 8000  # type: ignore[union-attr,operator]


def default_conv(in_channels: int, out_channels: int, kernel_size: int, bias: bool = True) -> nn.Module:
    return nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias)


class MadeOfConvs(nn.Module):
    """Its layers are made by what it is handed, which the file has under a name that says so."""

    def __init__(self, conv: Any, n_feats: int, kernel_size: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(n_feats, n_feats, kernel_size), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class NormedWhole(nn.Module):
    def __init__(self, width: int = 8, norm_layer: Any = nn.InstanceNorm2d) -> None:
        super().__init__()
        self.part = NormedPart(width, norm_layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.part(x)


class NormedPart(nn.Module):
    """What makes its norm, another class of the file has by default."""

    def __init__(self, planes: int, norm_layer: Any) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(planes, planes, 1), norm_layer(planes)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


def test_what_makes_layers_is_what_the_file_uses_for_it() -> None:
    assert "MadeOfConvs(default_conv," in subject_of_class(MadeOfConvs).inferred_from
    assert "InstanceNorm2d" in subject_of_class(NormedPart).inferred_from


class Hardswish(nn.Module):
    """Takes no `self`, as activations of well-known repositories."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x * F.hardtanh(x + 3, 0.0, 6.0) / 6.0


class WeighsByDifficulty(nn.Module):
    """Around a loss, whose reduction it takes away."""

    def __init__(self, loss_fcn: Any, gamma: float = 1.5) -> None:
        super().__init__()
        self.loss_fcn = loss_fcn
        self.gamma = gamma
        self.reduction = loss_fcn.reduction
        self.loss_fcn.reduction = "none"

    def forward(self, pred: Tensor, true: Tensor) -> Tensor:
        loss: Tensor = self.loss_fcn(pred, true)
        return (loss * (true - pred.sigmoid()).abs() ** self.gamma).mean()


class PoolsSamples(nn.Module):
    """Needs some thousand samples; waveform: (batch, samples)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, channels, 11, stride=5)

    def forward(self, waveform: Tensor) -> Tensor:
        x = self.conv(waveform[:, None])
        for _ in range(5):
            x = F.max_pool1d(x, 4)
        return x.mean(-1)


class TargetFirst(nn.Module):
    def forward(self, gt_score: Tensor, pred_score: Tensor) -> Tensor:
        return 1 - 2 * (gt_score * pred_score).sum() / (gt_score.sum() + pred_score.sum() + 1e-5)


class DiceLoss(TargetFirst):
    pass


class Clamps(nn.Module):
    def __init__(self, lb: float, ub: float) -> None:
        super().__init__()
        self.lb, self.ub = lb, ub

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.lb) / (self.ub - self.lb)


class Squeezes(nn.Module):
    """Its reduction is no word."""

    def __init__(self, channels: int, reduction: Any) -> None:
        super().__init__()
        self.down, self.up = (
            nn.Linear(channels, channels // reduction),
            nn.Linear(channels // reduction, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.up(self.down(x).relu()).sigmoid()


class InteractsInPairs(nn.Module):
    """One layer for each pair of fields, of which fewer fields would leave some out."""

    def __init__(self, num_fields: int, embedding_dim: int) -> None:
        super().__init__()
        count = num_fields * (num_fields - 1) // 2
        self.layers = nn.ModuleList(nn.Linear(embedding_dim, embedding_dim) for _ in range(count))

    def forward(self, feature_emb: Tensor) -> Tensor:
        fields = torch.split(feature_emb, 1, dim=1)
        pairs = [(a, b) for i, a in enumerate(fields) for b in fields[i + 1 :]]
        return torch.cat([layer(a) * b for layer, (a, b) in zip(self.layers, pairs, strict=False)], dim=1)


@pytest.mark.parametrize(
    ("cls", "begins"),
    [
        (Hardswish, "Hardswish()(f32["),
        (WeighsByDifficulty, "WeighsByDifficulty(nn.BCEWithLogitsLoss())(f32["),
        (PoolsSamples, "PoolsSamples(32)(f32[5,32768])"),
        (DiceLoss, "DiceLoss()("),
        (Clamps, "Clamps(0.0, 1.0)("),
        (Squeezes, "Squeezes(32, 2)("),
        (InteractsInPairs, "InteractsInPairs(32, 32)(f32[5,32,32])"),
    ],
)
def test_what_published_code_takes(cls: type[nn.Module], begins: str) -> None:
    said = subject_of_class(cls).inferred_from
    assert said.startswith(begins)
    assert "a guess" not in said
