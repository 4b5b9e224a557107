"""The second-order leg: differences of the gradient itself, against backward through backward."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from layersmith.probe.gradients.cotangent import pull_back
from layersmith.probe.gradients.culprit import nodes_of
from layersmith.probe.gradients.directions import normal_like
from layersmith.probe.gradients.joint import Direction, Precision, Reading, balanced, settle
from layersmith.probe.gradients.line import Line, moving
from layersmith.probe.gradients.projection import Projection, dot, norm, norms
from layersmith.probe.gradients.specimen import Leaf, Specimen


class OnceError(Exception):
    """Backward cannot be differentiated, and says so."""


class SecondOrder:
    """S = <w, J^T u> as a function of leaves and u, and its gradient by double backward."""

    def __init__(self, specimen: Specimen, precision: Precision, *, seed: int) -> None:
        with math_attention():
            outputs = specimen.outputs()
            projection = Projection.of(outputs, seed=seed + 1)
            self.along = [one.clone().requires_grad_() for one in projection.along]
            self.specimen, self.projection, self.precision, self.seed = specimen, projection, precision, seed
            first = self._first_order(projection.pick(outputs), create_graph=True)
            self.weights = _weights(first, seed)
            # A saturated gradient is a small difference of large numbers: exact to a share of u at best.
            floor = norm(projection.along)
            sizes = zip(norms(self.weights), norms(first), strict=True)
            self.size = sum(weight * max(size, floor) for weight, size in sizes)
            self.gradients = self._double_backward(first)
        extra = [Leaf(f"grad_output[{k}]", one, "grad_output") for k, one in enumerate(self.along)]
        self.leaves = (*specimen.leaves, *extra)
        self.steep = norms(self.gradients)

    def read(self, *, only: Sequence[int] | None = None) -> Reading:
        """Compare double backward with differences of the first backward, along one direction."""
        whole = Specimen(
            self.specimen.module, self.specimen.inputs, self.leaves, self.specimen.dtype, self.seed
        )
        direction: Direction = balanced(whole, self.steep, seed=self.seed + 303, only=only)
        pairs = [
            (leaf.tensor.data, block)
            for leaf, block in zip(self.leaves, direction.blocks, strict=True)
            if block is not None
        ]
        line = Line(self._measure, (self.size, self.size), [t for t, _ in pairs], [v for _, v in pairs])
        with math_attention(), moving(line):
            return settle(line, self.precision, dot(self.gradients, direction.blocks), direction.scale)

    def _measure(self) -> float:
        with torch.enable_grad():
            found = self._first_order(self.projection.pick(self.specimen.outputs()), create_graph=False)
        return dot(self.weights, found)

    def _first_order(self, picked: Sequence[Tensor], *, create_graph: bool) -> list[Tensor | None]:
        tensors = [leaf.tensor for leaf in self.specimen.leaves]
        self.specimen.backwards += 1
        along = self.along if create_graph else [one.detach().clone() for one in self.along]
        return pull_back(picked, along, tensors, create_graph=create_graph)

    def _double_backward(self, first: Sequence[Tensor | None]) -> list[Tensor | None]:
        pairs = [
            (w, g) for w, g in zip(self.weights, first, strict=True) if g is not None and g.requires_grad
        ]
        tensors = [*(leaf.tensor for leaf in self.specimen.leaves), *self.along]
        if not pairs:
            return [None] * len(tensors)
        if any(node.name().endswith("::Error") for node in nodes_of(g for _, g in pairs)):
            raise OnceError("marked once_differentiable")  # what its marker node would say, were it asked
        try:
            return pull_back([g for _, g in pairs], [w for w, _ in pairs], tensors)
        except RuntimeError as error:
            if any(
                text in str(error)
                for text in ("once_differentiable", "not implemented", "not differentiable")
            ):
                raise OnceError(str(error).split("\n", 1)[0]) from error
            raise


@contextmanager
def math_attention() -> Iterator[None]:
    """Fused attention kernels have no second derivative; the plain formula does."""
    from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: PLC0415 - only where it is needed

    with sdpa_kernel([SDPBackend.MATH]):
        yield


def _weights(first: Sequence[Tensor | None], seed: int) -> list[Tensor | None]:
    """A random w in which every gradient counts about equally."""
    sizes = norms([None if one is None else one.detach() for one in first])
    top = max(sizes, default=0.0) or 1.0
    return [
        None
        if one is None
        else normal_like(one.detach(), seed + 17 * i)
        * min(top / size if size else 1.0, 1e3)
        / math.sqrt(one.numel())
        for i, (one, size) in enumerate(zip(first, sizes, strict=True))
    ]
