"""An option with which a module's own layers do not fit, though a search for another call takes long."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from layersmith import runner
from layersmith.finding import Outcome
from layersmith.load.build import subject_of_class
from layersmith.registry import with_prerequisites


class OneHotBeside(nn.Module):
    def __init__(
        self, width: int = 6, latent: int = 4, classes: int = 3, *, conditional: bool = False
    ) -> None:
        super().__init__()
        self.classes = classes if conditional else 0
        self.encoder = nn.Linear(width + self.classes, latent)
        self.decoder = nn.Linear(latent, width)

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        hot = x.new_zeros(len(x), self.classes)
        if label is not None:
            hot = nn.functional.one_hot(label, self.classes).to(x)
        z = self.encoder(torch.cat([x, hot], dim=-1)).relu()
        return self.decoder(torch.cat([z, hot], dim=-1))


class OneHotForBoth(OneHotBeside):
    def __init__(
        self, width: int = 6, latent: int = 4, classes: int = 3, *, conditional: bool = False
    ) -> None:
        super().__init__(width, latent, classes, conditional=conditional)
        self.decoder = nn.Linear(latent + self.classes, width)


class NormalisesTheWrongAxis(nn.Module):
    """As many steps as channels would fit."""

    def __init__(self, width: int = 6, norm: str = "batch") -> None:
        super().__init__()
        assert norm in ("batch", "layer")
        self.conv = nn.Conv1d(width, width, 1)
        self.norm = nn.BatchNorm1d(width) if norm == "batch" else nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x.transpose(1, 2))).transpose(1, 2)


class ForgetsItsDilation(nn.Module):
    def __init__(self, width: int = 6, kernel_size: int = 3, dilation: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, kernel_size, padding=kernel_size // 2, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x)


class ListsNone(nn.Module):
    def __init__(self, width: int = 6, norm: str | None = "layer") -> None:
        super().__init__()
        allowed = ["layer", "batch", None]
        if norm not in allowed:
            raise ValueError(f"norm must be one of {allowed}, not {norm!r}")
        self.norms = {"layer": nn.LayerNorm(width), "batch": nn.BatchNorm1d(width)}
        self.norm = self.norms[norm]  # type: ignore[index]

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x)


class StridesOfItsDimensions(nn.Module):
    """Another number of dimensions asks for another stride, of as many numbers."""

    def __init__(self, width: int = 6, spatial_dims: int = 2, stride: tuple[int, ...] = (1, 1)) -> None:
        super().__init__()
        conv = nn.Conv2d if spatial_dims == 2 else nn.Conv3d
        self.conv = conv(width, width, 1, stride=stride)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class ForgetsItsDimensions(nn.Module):
    def __init__(self, width: int = 6, spatial_dims: int = 2) -> None:
        super().__init__()
        conv = nn.Conv2d if spatial_dims == 2 else nn.Conv3d
        self.conv = conv(width, width, 1, stride=(1, 1))  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class ActivationByName(nn.Module):
    def __init__(self, width: int = 6, activation: str = "relu") -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        if activation == "relu":
            self.act: nn.Module = nn.ReLU()
        elif activation == "gelu":
            self.act = nn.Gelu()  # type: ignore[attr-defined]
        else:
            raise ValueError(f"activation must be relu or gelu, not {activation!r}")

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.linear(x))


def outcome(cls: type[nn.Module]) -> Outcome:
    found = runner.run(subject_of_class(cls), with_prerequisites(["argument-crashes"]))
    return next(result.outcome for result in found if result.rule == "argument-crashes")


def test_layers_that_do_not_fit_with_an_option_are_reported() -> None:
    assert outcome(OneHotBeside) is Outcome.FAIL


def test_layers_that_fit_with_and_without_it_pass() -> None:
    assert outcome(OneHotForBoth) is Outcome.PASS


def test_a_norm_that_fits_only_as_many_steps_as_channels_is_reported() -> None:
    assert outcome(NormalisesTheWrongAxis) is Outcome.FAIL


def test_a_dilation_without_its_padding_is_reported() -> None:
    assert outcome(ForgetsItsDilation) is Outcome.FAIL


def test_a_value_that_only_a_named_list_allows_is_tried() -> None:
    assert outcome(ListsNone) is Outcome.FAIL


def test_another_number_of_dimensions_is_tried_unless_other_arguments_have_as_many_numbers() -> None:
    assert outcome(ForgetsItsDimensions) is Outcome.FAIL
    assert outcome(StridesOfItsDimensions) is Outcome.PASS


def test_a_compared_name_of_what_torch_has_not_got_is_reported() -> None:
    assert outcome(ActivationByName) is Outcome.FAIL
