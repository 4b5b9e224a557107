"""A rehearsal: forward and backward of a copy, so that nothing the user holds is touched by measuring."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from layersmith.errors import UsageError
from layersmith.probe import tree
from layersmith.probe.inputs import Inputs
from layersmith.probe.surroundings import preserved
from layersmith.probe.template import copied


@contextmanager
def rehearsal(module: nn.Module, inputs: Inputs, *, seed: int) -> Iterator[nn.Module]:
    """A copy of the module, to be called at will under `seed` with gradients enabled.

    Lazy parameters of the copy take their shapes from the inputs. The module, the global generators and the
    gradient mode are afterwards as they were.

    Raises:
        UsageError: if the module cannot be copied.
    """
    with preserved(seed=seed), torch.inference_mode(mode=False):  # which ends torch.no_grad, too
        twin = _copy(module)
        if any(nn.parameter.is_lazy(parameter) for parameter in twin.parameters()):
            with torch.no_grad():
                inputs.call(twin)
        yield twin


def differentiable(inputs: Inputs) -> Inputs:
    """A copy of the inputs whose floating tensors require gradients, and may yet be modified in place."""
    return inputs.map(lambda tensor: _copy_tensor(tensor, needs_gradient=tree.is_differentiable(tensor)))


def as_in_training(inputs: Inputs, module: nn.Module) -> Inputs:
    """A copy of the inputs that requires gradients where they do: as a training step would call the module.

    A module with nothing to learn gets differentiable inputs, for otherwise it would have no backward at all.
    """
    if not any(parameter.requires_grad for parameter in module.parameters()):
        return differentiable(inputs)
    return inputs.map(lambda tensor: _copy_tensor(tensor, needs_gradient=tensor.requires_grad))


def cotangents(output: object, *, seed: int) -> tuple[list[Tensor], list[Tensor]]:
    """The tensors of an output that a gradient can start from, and the gradient of each.

    They are those of the objective sum(y * u) / sqrt(n), with u ~ N(0, 1) and n the number of elements y:
    a random projection, because a plain sum is blind to what keeps sums constant (softmax, normalisation).
    """
    ends = [
        t for t in tree.tensors(output) if t.requires_grad and t.layout is torch.strided and not t.is_nested
    ]
    count = sum(end.numel() for end in ends)
    generator = torch.Generator().manual_seed(seed)
    return ends, [_projection(end, generator) / count**0.5 for end in ends]


def backward(output: object, *, seed: int) -> None:
    """Run backward from every tensor of the output that a gradient can start from, if there is any."""
    parts = [
        (end * gradient.conj()).sum().real
        for end, gradient in zip(*cotangents(output, seed=seed), strict=True)
    ]
    if parts:
        # From a scalar: given gradients, torch.autograd.backward imports sympy, which takes 0.3 seconds.
        torch.stack([part.double() for part in parts]).sum().backward()


def _copy(module: nn.Module) -> nn.Module:
    try:
        return copied(module)
    except Exception as error:
        raise UsageError(
            f"measuring works on a copy, but copy.deepcopy of {type(module).__name__} raised "
            f"{type(error).__name__}: {error!s:.200}; "
            "measure it freshly built, or after one call if it is lazy"
        ) from error


def _copy_tensor(tensor: Tensor, *, needs_gradient: bool) -> Tensor:
    leaf = tensor.detach().clone()
    # The module may modify its input in place, which is forbidden for a leaf that requires a gradient.
    return leaf.requires_grad_().clone() if needs_gradient else leaf


def _projection(end: Tensor, generator: torch.Generator) -> Tensor:
    wide = torch.complex64 if end.is_complex() else torch.float32
    return torch.randn(end.shape, generator=generator, dtype=wide, device="cpu").to(end.device, end.dtype)
