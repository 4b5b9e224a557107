"""Options that fail in the example's call, and are healthy all the same."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from layersmith.finding import Outcome, Severity
from layersmith.registry import load
from layersmith.runner import ask
from layersmith.subject import Construction
from tests.trying import findings, result, subject_of


class JoinsTheSkip(nn.Module):
    """Whoever upsamples by a convolution halves the channels, and wants more to halve."""

    def __init__(self, channels: int = 8, *, bilinear: bool = True) -> None:
        super().__init__()
        self.up: nn.Module = nn.Upsample(scale_factor=2)
        if not bilinear:
            self.up = nn.ConvTranspose2d(channels, channels // 2, 2, stride=2)
        self.mix = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = self.up(x)
        rows, columns = skip.shape[2] - x.shape[2], skip.shape[3] - x.shape[3]
        return self.mix(torch.cat([skip, nn.functional.pad(x, [0, columns, 0, rows])], dim=1))


class AddsAShortcut(nn.Module):
    """That there can be none between other widths is plain."""

    def __init__(self, in_features: int = 6, out_features: int = 4, *, shortcut: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        return x + self.linear(x) if self.shortcut else self.linear(x)


class HasAFasterKernel(nn.Module):
    """An option for which another package is needed, which is not there."""

    def __init__(self, *, fused: bool = False) -> None:
        super().__init__()
        self.fused = fused

    def forward(self, x: Tensor) -> Tensor:
        if self.fused:
            import a_package_of_kernels  # type: ignore[import-not-found]

            return a_package_of_kernels.relu(x)
        return x.relu()


@pytest.mark.parametrize(
    ("cls", "inputs"),
    [
        (JoinsTheSkip, (torch.randn(2, 4, 3, 3), torch.randn(2, 4, 6, 6))),
        (AddsAShortcut, (torch.randn(4, 6),)),
        (HasAFasterKernel, (torch.randn(4, 6),)),
    ],
)
def test_an_option_is_not_blamed_for_what_it_cannot_help(
    cls: type[nn.Module], inputs: tuple[Tensor, ...]
) -> None:
    found = result(cls, *inputs)
    assert found.outcome is Outcome.PASS, found.findings


class SkipsAround(nn.Module):
    """Its middle is another such block, or it is the innermost one, as in pix2pix."""

    def __init__(self, width: int = 6, submodule: nn.Module | None = None, *, innermost: bool = True) -> None:
        super().__init__()
        inner = [] if innermost else [submodule]
        self.model = nn.Sequential(nn.Linear(width, width), *inner, nn.ReLU())  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.model(x)], -1)


def test_a_module_that_is_left_out_is_not_the_options_fault() -> None:
    assert result(SkipsAround, torch.randn(5, 6)).outcome is Outcome.PASS


class UndoesANorm(nn.Module):
    """Wants a norm that kept its scale; inference gave it a class of torch's."""

    def __init__(self, method: str = "none", norm: type[nn.Module] = nn.LayerNorm) -> None:
        super().__init__()
        self.method, self.norm = method, norm

    def forward(self, x: Tensor) -> Tensor:
        if self.method == "mean":
            return x * self.norm.scale  # type: ignore[attr-defined]
        return x


def test_a_class_that_stands_for_a_module_lacks_nothing() -> None:
    subject = subject_of(UndoesANorm, torch.randn(4, 6))
    assert ask(subject, load("argument-crashes")).findings
    assert not ask(replace(subject, inferred_from="names"), load("argument-crashes")).findings


class DropsEachLayer(nn.Module):
    """The rates are one a layer: who wants another depth gives other rates."""

    def __init__(self, depth: int = 2, rates: list[float] | None = None) -> None:
        super().__init__()
        rates = rates or [0.0] * 2
        self.layers = nn.Sequential(*(nn.Dropout(rates[i]) for i in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x.relu())
        return y


def test_a_list_of_one_entry_a_layer_is_not_asked_for_more_layers() -> None:
    subject = subject_of(DropsEachLayer, torch.randn(4, 6))
    assert ask(subject, load("argument-crashes")).findings
    construction = subject.construction
    assert construction is not None
    said = replace(construction, arguments={"depth": 2, "rates": [0.0, 0.1]})
    assert not ask(replace(subject, construction=said), load("argument-crashes")).findings


class ChompsItsPadding(nn.Module):
    """Nothing comes before the end that is no padding, where there is none."""

    def __init__(self, width: int = 4, kernel_size: int = 3) -> None:
        super().__init__()
        self.pad = kernel_size - 1
        self.conv = nn.Conv1d(width, width, kernel_size, padding=self.pad)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)[..., : -self.pad]


class KeepsItsSteps(ChompsItsPadding):
    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)[..., : x.shape[-1]]


def test_a_kernel_of_one_must_leave_something() -> None:
    (found,) = result(ChompsItsPadding, torch.randn(2, 4, 9)).findings
    assert "kernel_size=1" in found.message
    assert "returned nothing" in found.message
    assert not result(KeepsItsSteps, torch.randn(2, 4, 9)).findings


def test_a_kernel_of_one_is_asked_for_only_where_another_works() -> None:
    (found,) = result(PadsForAnother, torch.randn(2, 4, 9)).findings
    assert "kernel_size=5" in found.message


class PadsForAnother(nn.Module):
    def __init__(self, width: int = 4, kernel_size: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, kernel_size, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x)


class LooksAbove(nn.Module):
    """Half of a kernel of one is no kernel: nobody has such a network."""

    def __init__(self, width: int = 4, kernel_size: int = 3) -> None:
        super().__init__()
        rows = kernel_size // 2
        self.pad = nn.ZeroPad2d((rows, rows, rows, 0))
        self.conv = nn.Conv2d(width, width, (rows, kernel_size))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(self.pad(x))[:, :, :-1]


class MayHaveAContext(nn.Module):
    """No layers for a context that has no channels."""

    def __init__(self, width: int = 6, num_context_layers: int = 0, context_width: int = 0) -> None:
        super().__init__()
        layers = [nn.Linear(context_width, width) for _ in range(num_context_layers)]
        self.context = nn.ModuleList(nn.utils.parametrizations.weight_norm(one) for one in layers)
        self.share = nn.Buffer(torch.ones(()) * (width // context_width if layers else 1))
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * self.share


@pytest.mark.parametrize("cls", [LooksAbove, MayHaveAContext])
def test_what_is_nothing_is_not_made_some(cls: type[nn.Module]) -> None:
    x = torch.randn(4, 6) if cls is MayHaveAContext else torch.randn(2, 4, 9, 11)
    assert not findings(cls, x)


class TakesOtherKeys(nn.Module):
    """Keys of another width come with their own argument."""

    def __init__(self, dim: int = 6, kdim: int | None = None) -> None:
        super().__init__()
        kdim = kdim if kdim is not None else dim
        self.q, self.k = nn.Linear(dim, dim), nn.Linear(kdim, dim)

    def forward(self, x: Tensor, k: Tensor | None = None) -> Tensor:
        return x + (self.q(x) * self.k(x if k is None else k)).softmax(-1)


class ReadsAFile(nn.Module):
    def __init__(self, width: int = 6, *, pretrained: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        if pretrained:
            self.load_state_dict(torch.load("no/such/weights.pt"))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


class NormsForItsInput(nn.Module):
    """The width of its output needs no context."""

    def __init__(self, dim: int = 6, output_dim: int | None = None) -> None:
        super().__init__()
        output_dim = dim if output_dim is None else output_dim
        self.linear, self.norm = nn.Linear(dim, output_dim), nn.LayerNorm(dim)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        y = self.linear(x)
        return self.norm(y if context is None else y + context)


def test_the_width_of_the_output_is_an_option_of_its_own() -> None:
    (found,) = findings(NormsForItsInput, torch.randn(4, 6))
    assert "NormsForItsInput(output_dim=12) (a width of its own): forward raised" in found.message


@pytest.mark.parametrize("cls", [TakesOtherKeys, ReadsAFile])
def test_what_an_option_needs_besides_is_not_its_fault(cls: type[nn.Module]) -> None:
    assert not findings(cls, torch.randn(4, 6))


class TakesOneOfItsLayers(nn.Module):
    """Which layer, seen from the end: no number of layers."""

    def __init__(self, width: int = 6, hidden_layer: int = -2) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.layer = [*self.net.children()][hidden_layer]

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + self.net(x)


def test_an_index_from_the_end_is_no_count() -> None:
    assert not findings(TakesOneOfItsLayers, torch.randn(4, 6))


class LearnsToEnlarge(nn.Module):
    """Without its layer it takes any channels; with it, it must be told how many."""

    def __init__(self, in_channels: int | None = None, with_conv: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, in_channels, 3, padding=1) if with_conv else None  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.interpolate(x, scale_factor=2)
        return x if self.conv is None else self.conv(x)


def test_an_option_may_want_a_size_that_was_left_none() -> None:
    assert not findings(LearnsToEnlarge, torch.randn(2, 3, 4, 4))


class Shortens(nn.Module):
    """Its shortcut asks for the widths alone."""

    def __init__(self, in_channels: int = 4, out_channels: int = 6, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride, 1)
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) + self.shortcut(x)


class ShortensEither(nn.Module):
    """As it is in the paper: who halves the sides doubles the channels."""

    def __init__(self, in_channels: int = 4, out_channels: int = 6, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride, 1)
        self.more = 0
        if stride != 1 or in_channels != out_channels:
            self.more = max(2, out_channels - in_channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        sides = y.shape[-1], y.shape[-2]
        kept = nn.functional.adaptive_avg_pool2d(x, sides) if sides != x.shape[2:] else x
        return y + nn.functional.pad(kept, (0, 0, 0, 0, 0, self.more))


def test_a_stride_is_tried_where_the_widths_are_equal() -> None:
    (found,) = findings(Shortens, torch.randn(2, 4, 6, 6))
    assert "Shortens(stride=2, out_channels=4)" in found.message
    assert not findings(ShortensEither, torch.randn(2, 4, 6, 6))


class WantsANorm(nn.Module):
    """It has a default because another argument before it has one."""

    def __init__(self, width: int = 6, norm: type[nn.Module] | None = nn.LayerNorm) -> None:
        super().__init__()
        self.norm = norm(width)  # type: ignore[misc]

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x)


class NormOfNone(WantsANorm):
    def __init__(self, width: int = 6, norm: type[nn.Module] | None = None) -> None:
        super().__init__(width, norm)


def test_a_default_of_none_that_is_called_is_a_note() -> None:
    made = subject_of(WantsANorm, torch.randn(2, 6))
    given = {"norm": nn.LayerNorm}
    built = replace(
        made,
        build=lambda _: NormOfNone(norm=nn.LayerNorm),
        construction=Construction(
            NormOfNone, given, lambda kind, args: kind(**args), "NormOfNone(norm=LayerNorm)"
        ),
    )
    (found,) = ask(built, load("argument-crashes")).findings
    assert found.severity is Severity.NOTE


try:
    from a_package_of_kernels import windows
except ImportError:
    windows = None


class HasAFasterWindow(nn.Module):
    def __init__(self, *, fused: bool = False) -> None:
        super().__init__()
        self.fused = fused

    def forward(self, x: Tensor) -> Tensor:
        return windows.apply(x) if self.fused else x.relu()


def test_what_is_none_where_a_package_is_missing_is_no_crash() -> None:
    assert not findings(HasAFasterWindow, torch.randn(2, 6))
