"""An inverse real FFT must be told the length that it is to give back.

## Why it matters
`irfft` of m frequencies gives 2 (m - 1) steps, for 2 (m - 1) and for 2 (m - 1) + 1 that went in. Sequences of odd length
come back one step short: they crash in the next addition, or are shifted against their targets.

## How it is tested
Where the code calls `irfft`, `irfft2` or `irfftn`: forward is called on inputs of which one axis is odd. Reported is an
inverse without length of as many frequencies as came out of an `rfft` of an odd length in the same call; a note where
that is not seen in the output. A length that is padded to an even one before, and cut afterwards, passes.

## How to fix it
`torch.fft.irfft(y, n=x.size(-1))`, `torch.fft.irfft2(y, s=x.shape[-2:])`.

## How to reproduce it
    short = []
    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            if "irfft" in function.__name__ and not {"n", "s"} & {*(kwargs or {})} and len(args) < 2:
                short.append(function.__name__)
            return function(*args, **(kwargs or {}))
    with Watch():
        run()
    assert not short, f"{short} cannot know whether the length was odd"
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from layersmith.finding import Finding, Severity
from layersmith.probe import batch, reading, tree
from layersmith.probe.inputs import Inputs
from layersmith.probe.steps import caller
from layersmith.promises import Promise
from layersmith.rule import NotApplicable, rule
from layersmith.subject import Case

THERE = {"fft_rfft", "fft_rfft2", "fft_rfftn"}
BACK = {"fft_irfft": "n", "fft_irfft2": "s", "fft_irfftn": "s"}  # and the argument that gives the length
AXIS = {"fft_rfft": 2, "fft_irfft": 2}  # the place of `dim`; of the others the last of several


@rule(severity=Severity.WARNING, since="0.1", promise=Promise.CALLABLE)
def irfft_without_length(case: Case) -> Iterator[Finding]:
    """Try one odd axis after the other, until one comes back short."""
    if not reading.says(case.module, r"\birfft[2n]?\("):
        raise NotApplicable("it calls no inverse real FFT")
    for inputs, longer in _odd(case.inputs):
        if longer is not None and case.fresh().error(longer) is not None:
            continue  # it takes this length only
        seen, output = _Lengths(), None
        with seen, contextlib.suppress(Exception):  # what is short may crash what follows
            output = case.run_fresh(inputs)
        if seen.short is not None:
            name, length, file, line = seen.short
            yield Finding(
                f"{name}() gives {length - 1} of the {length} steps that rfft() took: it is not told the length",
                file=file,
                line=line,
                fix=f"{name}(..., {BACK[f'fft_{name}']}=...)",
                severity=None if _comes_out(output, length - 1) else Severity.NOTE,
                numbers={"length": length},
            )
            return


def _comes_out(output: Any, length: int) -> bool:
    """Whether what is short is seen from outside, or has crashed the call."""
    return output is None or any(length in tensor.shape for tensor in tree.tensors(output))


def _odd(inputs: Inputs) -> Iterator[tuple[Inputs, Inputs | None]]:
    """The inputs with one axis behind the first made odd, and one longer that is even, axis by axis; and as they are."""
    yield inputs, None
    for axis in range(1, max((tensor.ndim for tensor in inputs.tensors()), default=0)):
        if batch.batch_size(inputs, axis) % 2 == 0:
            yield batch.grown(inputs, 1, axis=axis), batch.grown(inputs, 2, axis=axis)


class _Lengths(TorchFunctionMode):
    """A context that keeps the first inverse that gives one step less than an `rfft` took, without being told to."""

    def __init__(self) -> None:
        super().__init__()
        self.odd: set[int] = set()
        self.short: tuple[str, int, str, int] | None = None

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Look at the length that goes in or comes out."""
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        result = func(*args, **kwargs)
        if name in THERE and isinstance(args[0], Tensor) and not (len(args) > 1 or {"n", "s"} & {*kwargs}):
            length = args[0].shape[_axis(name, args, kwargs)]
            self.odd |= {length} if length % 2 else set()
        told = (len(args) > 1 and args[1] is not None) or kwargs.get(BACK.get(name, ""), None) is not None
        if name in BACK and not told and self.short is None:
            length = result.shape[_axis(name, args, kwargs)] + 1
            if length in self.odd:
                self.short = (name.removeprefix("fft_"), length, *caller())
        return result


def _axis(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    place = AXIS.get(name, 2)
    axis = args[place] if len(args) > place else kwargs.get("dim", -1)
    return int(axis[-1]) if isinstance(axis, tuple | list) else int(-1 if axis is None else axis)


@irfft_without_length.bad("irfft() gives 6 of the 7 steps", inputs=lambda: torch.randn(2, 3, 7))
class FiltersEvenLengths(nn.Module):
    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.linspace(0.5, 1.5, channels)[:, None])

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.irfft(torch.fft.rfft(x) * self.gain)


@irfft_without_length.bad("irfft2() gives 8 of the 9 steps", inputs=lambda: torch.randn(2, 3, 8, 8))
class MixesImages(nn.Module):
    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.linspace(0.5, 1.5, channels)[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.fft.irfft2(torch.fft.rfft2(x, dim=(-2, -1)) * self.gain, dim=(-2, -1))


@irfft_without_length.good(inputs=lambda: torch.randn(2, 3, 7))
class FiltersAnyLength(FiltersEvenLengths):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.irfft(torch.fft.rfft(x) * self.gain, n=x.shape[-1])


@irfft_without_length.good(inputs=lambda: torch.randn(2, 3, 7))
class FiltersWhatIsPadded(FiltersEvenLengths):
    """An even length in between."""

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[-1]
        padded = nn.functional.pad(x, (0, length % 2))
        return torch.fft.irfft(torch.fft.rfft(padded) * self.gain)[..., :length]
