"""Random directions, cheap: slices of one pool of normal numbers, repeated with a prime period."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

_LARGEST = 1 << 20


def normal_like(tensor: Tensor, seed: int) -> Tensor:
    """A new tensor of standard normal numbers with the shape, dtype and device of another."""
    return normal_view(tensor, seed).clone()


def normal_view(tensor: Tensor, seed: int) -> Tensor:
    """Standard normal numbers shaped and placed like a tensor, to be read only; same seed, same numbers.

    Drawing 10^7 normal numbers costs more than a forward and backward of 10^7 weights, so large tensors
    repeat the pool; its length is prime, so that the repeats do not line up with rows or columns.
    """
    wanted = tensor.numel() * (2 if tensor.is_complex() else 1)
    flat = _numbers(wanted, seed)
    if tensor.dtype is torch.float64 and tensor.device.type == "cpu":
        return flat.view(tensor.shape)
    if not tensor.is_complex():
        return flat.view(tensor.shape).to(tensor)
    return torch.view_as_complex(flat.view(*tensor.shape, 2)).to(tensor)


def normal_views(tensors: list[Tensor], seed: int) -> list[Tensor]:
    """One `normal_view` for each tensor, at the cost of one for all of them where they are alike."""
    if not all(one.dtype is torch.float64 and one.device.type == "cpu" for one in tensors):
        return [normal_view(one, seed + 7 * i) for i, one in enumerate(tensors)]
    flat = _numbers(sum(one.numel() for one in tensors), seed)
    return list(torch._C._nn.unflatten_dense_tensors(flat, tensors))  # noqa: SLF001 - no other is as cheap


def signs_like(tensor: Tensor, seed: int) -> Tensor:
    """Random signs with the shape, dtype and device of a real tensor."""
    return normal_view(tensor, seed).sign()


def _numbers(wanted: int, seed: int) -> Tensor:
    pool = _pool(min(_LARGEST, 1 << max(12, (2 * wanted).bit_length())))
    length = pool.numel()
    start = (seed * 7918 + 104_730) % (length // 2 & ~1)  # even: complex numbers are pairs
    return pool[start : start + wanted] if start + wanted <= length else _repeated(pool, start, wanted)


def _repeated(pool: Tensor, start: int, wanted: int) -> Tensor:
    times = -(-(start + wanted) // pool.numel())
    return pool.repeat(times)[start : start + wanted]


@functools.lru_cache(maxsize=4)
def _pool(size: int) -> Tensor:
    generator = torch.Generator().manual_seed(20_240_229)
    return torch.randn(_prime_below(size), generator=generator, dtype=torch.float64, device="cpu")


def _prime_below(size: int) -> int:
    return next(n for n in range(size - 1, 1, -1) if all(n % k for k in range(2, int(n**0.5) + 1)))
