"""What is given to classes as people write them: decoders with skips, masks by another name, codebooks, losses."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from layersmith import runner
from layersmith.load.build import subject_of_class
from layersmith.load.words import stated
from layersmith.registry import load


class JoinsLowFeatures(nn.Module):
    """Only the second input's channels are said by a layer of its own; those of the first are what is left of 40."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(16, 8, 1)
        self.mix = nn.Conv2d(40, 4, 3, padding=1)

    def forward(self, x: Tensor, low: Tensor) -> Tensor:
        low = self.narrow(low)
        x = nn.functional.interpolate(x, size=low.shape[2:])
        return self.mix(torch.cat([x, low], dim=1))


def test_what_is_joined_to_a_skip_has_the_channels_that_are_left() -> None:
    subject = subject_of_class(JoinsLowFeatures)
    x, low = subject.inputs(0).args
    assert (x.shape[1], low.shape[1]) == (32, 16)
    assert not subject.doubt


class AttendsToValid(nn.Module):
    def __init__(self, dim: int = 8) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, dim)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        x = self.linear(x)
        hidden = ~valid[:, None, :, None].squeeze(-1)
        return (x @ x.mT).masked_fill(hidden, -1e4).softmax(-1) @ x


def test_flags_that_get_axes_between_and_behind_are_of_rows_and_steps() -> None:
    x, valid = subject_of_class(AttendsToValid).inputs(0).args
    assert valid.dtype is torch.bool
    assert valid.shape == x.shape[:2]


def rearrange(x: Tensor, pattern: str) -> Tensor:
    """As that of einops, which is read by its name: what it does with its pattern says nothing of a shape."""
    assert pattern == "b c h w -> b h w c"
    return x.movedim(1, -1)


rearrange.__module__ = "einops.einops"


class LooksUpCodes(nn.Module):
    def __init__(self, count: int, e_dim: int) -> None:
        super().__init__()
        self.e_dim = e_dim
        self.table = nn.Embedding(count, e_dim)

    def forward(self, z: Tensor) -> Tensor:
        # reshape z -> (batch, height, width, channel) and flatten
        z = rearrange(z, "b c h w -> b h w c").contiguous()
        flat = z.view(-1, self.e_dim)
        return self.table(torch.cdist(flat, self.table.weight).argmin(1)).view(z.shape)


def test_a_comment_on_what_becomes_of_an_input_says_nothing_of_it() -> None:
    subject = subject_of_class(LooksUpCodes)
    (z,) = subject.inputs(0).args
    assert subject.construction is not None
    assert z.shape[1] == subject.construction.arguments["e_dim"]


class CodebookLoss(nn.Module):
    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, qloss: Tensor, target: Tensor, prediction: Tensor, split: str) -> dict[str, Tensor]:
        loss = nn.functional.mse_loss(prediction, target) + self.weight * qloss
        return {f"{split}/total": loss, "{}/codes".format(split): qloss.detach()}  # noqa: UP032 - as it is written


def test_a_loss_beside_which_another_is_given_gets_a_number() -> None:
    qloss, target, prediction, split = subject_of_class(CodebookLoss).inputs(0).args
    assert qloss.ndim == 0
    assert target.shape == prediction.shape
    assert isinstance(split, str)


class CountsItsFeatures(nn.Module):
    """It runs its layers once, to see how many features they leave; of small images nothing is left to normalise."""

    def __init__(self, image_size: int, classes: int = 3) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *[nn.Sequential(nn.Conv2d(3, 3, 3, 2, 1), nn.BatchNorm2d(3)) for _ in range(6)]
        )
        self.head = nn.Linear(self.layers(torch.zeros(1, 3, image_size, image_size)).numel(), classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x).flatten(1))


def test_a_constructor_that_runs_its_layers_gets_images_that_are_large_enough() -> None:
    subject = subject_of_class(CountsItsFeatures)
    assert subject.inputs(0).args[0].shape[-1] > 32


class TiesItsHead(nn.Module):
    def __init__(self, embedding_weights: nn.Parameter) -> None:
        super().__init__()
        self._tie(embedding_weights)

    def _tie(self, weights):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - as it is written
        shape = weights.shape
        self.decoder = nn.Linear(shape[1], shape[0], bias=False)
        self.decoder.weight = weights

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(x)


TiesItsHead.__init__.__annotations__.clear()


def test_a_weight_that_is_tied_is_a_parameter() -> None:
    subject = subject_of_class(TiesItsHead)
    assert "nn.Parameter(torch.randn(" in subject.inferred_from


class MeasuresItself(nn.Module):
    """How many features are left it asks its layers; that a cube is as deep as its kernel no name says."""

    def __init__(self, count: int = 9, patch: int = 7) -> None:
        super().__init__()
        self.count, self.patch = count, patch
        self.conv = nn.Conv3d(1, 4, (3, 5, 5))
        self.head = nn.Linear(self._left(), 2)

    def _left(self) -> int:
        with torch.no_grad():
            return self.conv(torch.zeros((1, 1, self.count, self.patch, self.patch))).numel()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x).flatten(1))


def test_what_a_constructor_runs_through_its_layers_is_an_input() -> None:
    assert subject_of_class(MeasuresItself).inputs(0).args[0].shape[1:] == (1, 9, 7, 7)


class LooksFarDown(nn.Module):
    def __init__(self, channels: int = 40) -> None:
        super().__init__()
        self.conv = nn.Conv3d(1, 4, (channels, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).mean((2, 3, 4))


def test_an_input_becomes_as_deep_as_its_kernel() -> None:
    shape = subject_of_class(LooksFarDown).inputs(0).args[0].shape
    assert shape[2] == 40
    assert shape[3] < 40


class StacksFrames(nn.Module):
    """It pads the wrong way, so most lengths fail; one that it divides does not."""

    def __init__(self, n_mels: int = 8, stride: int = 3) -> None:
        super().__init__()
        self.stride = stride
        self.proj = nn.Linear(n_mels * stride, 4)

    def forward(self, x: Tensor) -> Tensor:
        b, t, m = x.shape
        pad = t % self.stride
        x = nn.functional.pad(x, (0, 0, 0, pad))
        return self.proj(x.reshape(b, (t + pad) // self.stride, m * self.stride))


def test_a_length_that_most_numbers_divide_is_tried() -> None:
    assert subject_of_class(StacksFrames).inputs(0).args[0].shape[1] % 3 == 0


class MarginLoss(nn.Module):
    """One margin for each class, by how many of it there are."""

    def __init__(self, cls_num_list: list[int]) -> None:
        super().__init__()
        self.margins = torch.tensor(cls_num_list, dtype=torch.float32).rsqrt()

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        index = nn.functional.one_hot(target, x.shape[1]).to(x.dtype)
        margin = torch.matmul(self.margins[None, :], index.transpose(0, 1)).view(-1, 1)
        return nn.functional.cross_entropy(torch.where(index.bool(), x - margin, x), target)


def test_a_list_with_an_entry_for_each_class_says_how_many_there_are() -> None:
    subject = subject_of_class(MarginLoss)
    assert subject.construction is not None
    assert subject.inputs(0).args[0].shape[1] == len(subject.construction.arguments["cls_num_list"])


class NodesAndLinks(nn.Module):
    """nodes: (batch, n, width); links: (batch, kinds, n, n) weights of edges."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.own = nn.Linear(width, width)

    def forward(self, nodes: Tensor, links: Tensor) -> Tensor:
        return self.own(nodes) + links.mean(1) @ nodes


def test_a_name_that_stands_twice_in_one_shape_is_one_size() -> None:
    assert not runner.ask(subject_of_class(NodesAndLinks), load("documented-shapes-fail")).findings


class SumsUpPoints(nn.Module):
    """Of points.

    points: (batch, count, n_in). The result, (batch, n_out), is invariant to the order of the points.
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.each, self.join = nn.Linear(n_in, 8), nn.Linear(16, n_out)

    def forward(self, points: Tensor) -> Tensor:
        h = self.each(points).relu()
        return self.join(torch.cat([h.mean(1), h.amax(1)], -1))


def test_the_members_of_a_set_are_not_its_features() -> None:
    assert stated(SumsUpPoints)["permutation_invariant"].value == 1


class Frames(nn.Module):
    """wave: (batch, samples) with samples >= window."""

    def __init__(self, count: int, window: int = 16, hop: int = 8) -> None:
        super().__init__()
        self.window, self.hop = window, hop
        self.bank = nn.Parameter(torch.randn(window, count))

    def forward(self, wave: Tensor) -> Tensor:
        rows, samples = wave.shape
        count = (samples - self.window) // self.hop + 1
        return wave.as_strided((rows, count, self.window), (samples, self.hop, 1)) @ self.bank


def test_an_input_is_long_enough_that_something_comes_of_it() -> None:
    subject = subject_of_class(Frames)
    assert subject.case(seed=0).run().numel()
