"""Where to stand: the precision, the point and the leaves at which a module can be examined at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from layersmith.probe import closeness, tree
from layersmith.probe.gradients.directions import normal_views
from layersmith.probe.gradients.duplicate import UnbornError, duplicate
from layersmith.probe.gradients.frame import reseed
from layersmith.probe.gradients.projection import Named, Projection
from layersmith.probe.gradients.specimen import Specimen, specimen
from layersmith.probe.inputs import Inputs

_SETTLING = "_SpectralNorm"  # iterates in train mode, by design without gradient


class NoFootingError(Exception):
    """The module cannot be run in any way that would allow a judgement; the text says why."""


@dataclass(frozen=True, slots=True)
class Footing:
    """One way to stand: dtype, how the point is moved off kinks, whether inputs are differentiated."""

    dtype: torch.dtype
    jitter: str  # "added", "multiplied" or "" for the very point the user gave
    inputs: str = "all"  # which floating inputs are differentiated: "all", "varied" or "none"

    def stand(
        self, module: nn.Module, inputs: Inputs, *, seed: int, draw: int = 0, scale: float = 1.0
    ) -> Specimen:
        """A fresh specimen at this footing; another draw is another point near by; inputs are scaled."""
        twin = _settled(duplicate(module, self.dtype))
        found = specimen(twin, inputs, dtype=self.dtype, seed=seed, differentiated=self.inputs)
        moved = found.tensors
        if scale != 1.0:
            for leaf, tensor in zip(found.leaves, moved, strict=True):
                tensor.mul_(scale if leaf.kind == "input" else 1.0)
        if self.jitter and moved:
            noise = normal_views(moved, seed + 1000 * draw + 5)
            if self.jitter == "multiplied":
                noise = [one * tensor for one, tensor in zip(noise, moved, strict=True)]
            torch._foreach_add_(moved, noise, alpha=closeness.GRADIENT_JITTER)
        return found

    def __str__(self) -> str:
        """Say how this footing differs from the first choice; "" for the first choice."""
        words = []
        if self.dtype != torch.float64:
            words.append(f"examined in {str(self.dtype).removeprefix('torch.')}")
        if self.jitter != "added":
            words.append(
                "small relative changes to leave kinks" if self.jitter else "not moved off kinks and ties"
            )
        if self.inputs != "all":
            which = "whole-number inputs" if self.inputs == "varied" else "inputs"
            words.append(f"gradients of {which} not examined")
        return ", ".join(words)


@dataclass(frozen=True, slots=True)
class Found:
    """The best footing, what stands there, and why it is not a better one."""

    footing: Footing
    specimen: Specimen
    outputs: Named
    projection: Projection
    refusal: str


def find_footing(module: nn.Module, inputs: Inputs, *, seed: int, sparing: bool = False) -> Found:
    """The first footing on which the forward runs and its output is finite; or else runs at all.

    Sparing, only torch's generators are seeded, until the module turns out not to repeat itself.

    Raises:
        NoFootingError: if the forward runs nowhere.
        UnbornError: if a parameter has no shape yet.
    """
    refusal = ""
    fallback: Found | None = None
    for footing in _choices(module, inputs):
        torch.set_default_dtype(footing.dtype)
        try:
            specimen = footing.stand(module, inputs, seed=seed)
            specimen.draws_elsewhere = not sparing
            outputs = specimen.outputs()
        except UnbornError:
            raise
        except Exception as error:  # noqa: BLE001 - a module may raise anything; the next footing is tried
            refusal = refusal or f"{type(error).__name__}: {error}".split("\n", 1)[0][:200]
            continue
        projection = Projection.of(outputs, seed=seed + 1)
        found = Found(footing, specimen, outputs, projection, refusal)
        if projection.is_whole:
            return found
        refusal = refusal or "its output is not finite"
        fallback = fallback or found
    if fallback is not None:
        return fallback
    raise NoFootingError(f"forward raises {refusal}")


def born(module: nn.Module, inputs: Inputs, *, seed: int) -> nn.Module:
    """A copy of a module whose parameters waited for a first call, after that call."""
    twin = duplicate(module, None)
    reseed(seed)
    with torch.no_grad():
        inputs.call(twin)
    return twin


def _choices(module: nn.Module, inputs: Inputs) -> Iterator[Footing]:
    for dtype in (torch.float64, torch.float32):
        if dtype is torch.float32 and _native(module, inputs) not in {torch.float32, torch.complex64}:
            return
        yield Footing(dtype, "added")
        yield Footing(dtype, "added", "varied")
        yield Footing(dtype, "multiplied")
        yield Footing(dtype, "multiplied", "varied")
        yield Footing(dtype, "")
        yield Footing(dtype, "", "varied")
        yield Footing(dtype, "added", "none")
        yield Footing(dtype, "", "none")


def _native(module: nn.Module, inputs: Inputs) -> torch.dtype:
    tensors: tuple[Tensor, ...] = (*module.parameters(), *inputs.tensors())
    return next((one.dtype for one in tensors if tree.is_differentiable(one)), torch.float32)


def _settled(module: nn.Module) -> nn.Module:
    for part in nn.Module.modules(module):
        if type(part).__name__ == _SETTLING:
            part.eval()
    return module
