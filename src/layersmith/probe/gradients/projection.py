"""The outputs of a module, projected on one fixed random vector: the number whose slope is asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from layersmith.probe.gradients.directions import normal_like

_SMALL = 1 << 12
Named = Sequence[tuple[str, Tensor]]


@dataclass(frozen=True, slots=True)
class Projection:
    """Which outputs count, and the vector u that multiplies them: a cotangent, in autograd's terms."""

    picked: tuple[int, ...]  # positions among the differentiable outputs
    masks: tuple[Tensor | None, ...]  # where a picked output is finite; None where it is everywhere
    along: tuple[Tensor, ...]  # u, one tensor for each picked output
    size: float  # euclidean norm of the picked outputs

    @classmethod
    def of(cls, outputs: Named, *, seed: int) -> Projection:
        """Pick the outputs that carry a gradient, or all where none does; leave out what is not finite."""
        carrying = [i for i, (_, out) in enumerate(outputs) if out.requires_grad]
        picked = [i for i in carrying or range(len(outputs)) if outputs[i][1].numel()]
        chosen = [outputs[i][1].detach() for i in picked]
        masks: list[Tensor | None] = [None] * len(chosen)
        size = norm(chosen)
        if not math.isfinite(size):
            finite = [one.isfinite() for one in chosen]
            masks = [None if bool(mask.all()) else mask for mask in finite]
            chosen = _masked(chosen, masks)
            size = norm(chosen)
        along = tuple(normal_like(one, seed + 11 * i) for i, one in enumerate(chosen))
        return cls(tuple(picked), tuple(masks), along, size)

    def pick(self, outputs: Named) -> list[Tensor]:
        """The picked outputs, flat where some of their elements are not finite."""
        return _masked([outputs[i][1] for i in self.picked], self.masks)

    def value(self, outputs: Named) -> float:
        """Re <u, outputs>."""
        return dot(self.along, [out.detach() for out in self.pick(outputs)])

    @property
    def sizes(self) -> tuple[float, float]:
        """The norm of the outputs, and that of u, which is all but the root of its length."""
        return self.size, math.sqrt(sum(one.numel() for one in self.along))

    @property
    def is_whole(self) -> bool:
        """Whether every picked element is finite."""
        return all(mask is None for mask in self.masks)

    @property
    def is_empty(self) -> bool:
        """Whether there is no finite number to differentiate."""
        return not sum(one.numel() for one in self.along)


def dot(left: Sequence[Tensor | None], right: Sequence[Tensor | None]) -> float:
    """Re <left, right>, summed over all pairs; None counts as zero."""
    if len(left) > 1 and _are_small(left) and _are_small(right):
        flatten: Any = torch._C._nn.flatten_dense_tensors  # noqa: SLF001 - one kernel instead of three a tensor
        return float(torch.dot(flatten(left), flatten(right)))
    pairs = zip(left, right, strict=True)
    dots = [torch.dot(_flat(a), _flat(b)) for a, b in pairs if a is not None and b is not None]
    if len(dots) == 1:
        return float(dots[0])
    return math.fsum(torch.stack(dots).tolist()) if dots else 0.0


def _are_small(tensors: Sequence[Tensor | None]) -> bool:
    """Whether copying all of them to one place costs less than asking each."""
    return all(one is not None and one.dtype is torch.float64 and one.numel() <= _SMALL for one in tensors)


def plus(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    """The sum of two gradients, None counting as zero."""
    if a is None or b is None:
        return b if a is None else a
    return a + b


def norm(tensors: Sequence[Tensor]) -> float:
    """The euclidean norm of all the tensors together."""
    return float(torch.linalg.vector_norm(tensors[0])) if len(tensors) == 1 else math.hypot(*norms(tensors))


def norms(tensors: Sequence[Tensor | None]) -> list[float]:
    """The euclidean norm of each tensor; None counts as zero."""
    there = [one for one in tensors if one is not None]
    found = iter(torch.stack(torch._foreach_norm(there)).tolist() if there else ())  # noqa: SLF001
    return [0.0 if one is None else next(found) for one in tensors]


def _flat(tensor: Tensor) -> Tensor:
    real = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
    return real.reshape(-1)


def _masked(outputs: list[Tensor], masks: Sequence[Tensor | None]) -> list[Tensor]:
    return [out if mask is None else out[mask] for out, mask in zip(outputs, masks, strict=True)]
