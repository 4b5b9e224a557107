"""Products of halves, computed in float32."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own habit

from layersmith.probe import halves
from layersmith.probe.halves import QuickHalves
from layersmith.probe.operations import Operations

PRODUCTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "linear": F.linear,
    "matmul": lambda x, y: x @ y.mT,
    "bmm": lambda x, y: x[None] @ y.mT[None],
    "mv": lambda x, y: x @ y[0],
    "conv1d": lambda x, y: F.conv1d(x.mT[None], y[:, :, None]),
}


class _Dtypes(Operations):
    """Sees of which dtypes the operands of each product are."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[torch.dtype] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Note, and do it."""
        if func.overloadpacket.__name__ in {"mm", "bmm", "addmm", "mv", "convolution"}:
            self.seen |= {arg.dtype for arg in args if isinstance(arg, Tensor)}
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
def test_a_product_of_halves_is_taken_in_float32_and_rounded(
    product: Callable[[Tensor, Tensor], Tensor], dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    x, y = (torch.randn(size, 7).to(dtype) for size in (5, 6))
    with _Dtypes() as below, QuickHalves():
        quick = product(x, y)
    assert below.seen == {torch.float32}
    assert quick.dtype is dtype
    torch.testing.assert_close(quick, product(x.float(), y.float()).to(dtype), rtol=0.0, atol=0.0)


def test_what_is_too_large_for_a_half_is_infinite() -> None:
    x = torch.full((2, 2), 300.0, dtype=torch.float16)
    with QuickHalves():
        assert (x @ x).isinf().all()


def test_two_dtypes_are_refused_as_by_torch() -> None:
    with QuickHalves(), pytest.raises(RuntimeError, match="same dtype"):
        torch.ones(2, 2) @ torch.ones(2, 2, dtype=torch.bfloat16)


def test_a_gradient_is_a_half_too() -> None:
    x = torch.randn(3, 4, dtype=torch.bfloat16, requires_grad=True)
    with QuickHalves():
        (x @ x.mT).sum().backward()
    assert x.grad is not None
    assert x.grad.dtype is torch.bfloat16


def test_an_output_of_another_length_is_not_that_of_a_norm() -> None:
    x = torch.randn(5, 4)
    assert halves.is_of_a_norm(x, x * 1.001)
    assert not halves.is_of_a_norm(x, x[:3])
    assert not halves.is_of_a_norm(x, 300 * x)
    assert not halves.is_of_a_norm(torch.arange(3), torch.arange(3))


def test_what_is_lost_is_said() -> None:
    x = torch.randn(5, 4)
    assert halves.lost(x, x.half()) == ""
    assert halves.lost(x, torch.zeros(5, 4).half()) == "0"
    assert halves.lost(x, torch.full((5, 4), torch.inf).half()) == "inf or NaN"
