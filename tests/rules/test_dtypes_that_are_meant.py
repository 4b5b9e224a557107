"""What fails in another dtype, and is but a note: it was meant so, or has not begun, or only mixed precision meets it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from layersmith import runner
from layersmith.finding import Severity
from layersmith.load.build import subject_of_class
from layersmith.registry import load


class GroupNorm32(nn.GroupNorm):
    """Its weights stay float32 where the rest of a model is half."""

    def __init__(self) -> None:
        super().__init__(2, 4)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float()).type(x.dtype)


class StaysInFloat32(nn.GroupNorm):
    def __init__(self) -> None:
        super().__init__(2, 4)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float())


class IsTold(nn.Module):
    def __init__(self, *, half: bool = False) -> None:
        super().__init__()
        self.dtype = torch.float16 if half else torch.float32
        self.linear = nn.Linear(5, 5, dtype=self.dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.to(self.dtype)).to(x.dtype)


class IsNotTold(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(5, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.to(torch.float32)).to(x.dtype)


class EmbedsSteps(nn.Module):
    """The steps of a diffusion, whatever their dtype: float32 is what they need."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 5)

    def forward(self, t: Tensor) -> Tensor:
        rates = torch.arange(4, device=t.device).neg().exp()
        angles = t[..., None].float() * rates
        return self.linear(torch.cat([angles.cos(), angles.sin()], -1))


class ReadsBytes(nn.Module):
    """Images as they are stored."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(5, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.float() / 255.0)


class WaitsForItsRange(nn.Module):
    """Before it has seen a batch, its scale is the least that there is."""

    range: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("range", torch.tensor(0.0))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.range.copy_(x.detach().abs().amax())
        scale = (self.range / 127).clamp_min(1e-8)
        return (x / scale).round() * scale


class ScalesByTooMuch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 1e5 / 1e5


class _Scatters(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(5, 5)


class AddsWhatItsInputWeighs(_Scatters):
    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        return torch.zeros_like(y).scatter_add(1, torch.zeros_like(y, dtype=torch.long), y * x)


class AddsToItsInputsKind(_Scatters):
    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x).scatter_add(1, torch.zeros_like(x, dtype=torch.long), self.linear(x))


class WeighsASpectrum(nn.Module):
    """Its weights are complex, of which `.to(torch.float64)` would keep the real part only."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(5, 5, 3, dtype=torch.cfloat))

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.irfft(torch.einsum("bix,iox->box", torch.fft.rfft(x)[..., :3], self.weight))


def test_complex_weights_go_with_their_module() -> None:
    subject = subject_of_class(WeighsASpectrum, inputs="f32[5,5,8]")
    assert not runner.ask(subject, load("hard-coded-dtype")).findings
    assert subject.case(dtype=torch.float64).module.weight.dtype is torch.complex128


@pytest.mark.parametrize(
    ("rule", "cls", "severity"),
    [
        ("hard-coded-dtype", GroupNorm32, Severity.NOTE),
        ("hard-coded-dtype", StaysInFloat32, Severity.ERROR),
        ("hard-coded-dtype", IsTold, Severity.NOTE),
        ("hard-coded-dtype", IsNotTold, Severity.ERROR),
        ("hard-coded-dtype", EmbedsSteps, Severity.NOTE),
        ("hard-coded-dtype", ReadsBytes, Severity.NOTE),
        ("half-overflow", WaitsForItsRange, Severity.NOTE),
        ("half-overflow", ScalesByTooMuch, Severity.WARNING),
        ("autocast-fails", AddsWhatItsInputWeighs, Severity.NOTE),
        ("autocast-fails", AddsToItsInputsKind, Severity.ERROR),
    ],
)
def test_what_is_meant_is_but_a_note(rule: str, cls: type[nn.Module], severity: Severity) -> None:
    result = runner.ask(subject_of_class(cls, inputs="f32[5,4,5]"), load(rule))
    assert [result.severity_of(finding) for finding in result.findings] == [severity]
