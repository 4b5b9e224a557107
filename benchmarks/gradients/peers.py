"""The layers that are timed, and how torch's own gradcheck is called on them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class SeedLinear(nn.Module):
    """x @ weight + bias, as a user would write it."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(rows, columns) / rows**0.5)
        self.bias = nn.Parameter(0.1 * torch.randn(columns))

    def forward(self, x: Tensor) -> Tensor:
        """The product."""
        return x @ self.weight + self.bias


class SelfAttention(nn.Module):
    """Multi-head attention of x to itself."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """The attended values."""
        out: Tensor = self.attention(x, x, x)[0]
        return out


def mlp(depth: int, width: int = 32) -> nn.Module:
    """Linear and tanh, `depth` times."""
    return nn.Sequential(*(one for _ in range(depth) for one in (nn.Linear(width, width), nn.Tanh())))


def table() -> dict[str, tuple[nn.Module, Tensor]]:
    """The layers of the table, each with its input."""
    torch.manual_seed(0)
    return {
        "Linear 10->5": (SeedLinear(10, 5), torch.randn(4, 10)),
        "Linear 512": (SeedLinear(512, 512), torch.randn(2, 512)),
        "MLP, 3 layers": (
            nn.Sequential(nn.Linear(32, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 8)),
            torch.randn(4, 32),
        ),
        "LayerNorm": (nn.LayerNorm(64), torch.randn(4, 64)),
        "Conv2d": (nn.Conv2d(3, 8, 3, padding=1), torch.randn(2, 3, 8, 8)),
        "MultiheadAttention": (SelfAttention(16, 2), torch.randn(2, 5, 16)),
        "TransformerEncoderLayer": (
            nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True),
            torch.randn(2, 6, 32),
        ),
        "LSTM": (nn.LSTM(8, 16, batch_first=True), torch.randn(2, 5, 8)),
        "MLP, 64 layers": (mlp(64), torch.randn(8, 32)),
    }


class Peer:
    """gradcheck on a float64 copy that was made beforehand: its own cost and nothing else."""

    def __init__(self, module: nn.Module, x: Tensor) -> None:
        self.module = copy.deepcopy(module).double()
        self.x = x.double().requires_grad_()
        self.tensors = (*self.module.parameters(), self.x)

    def call(self, *_: Tensor) -> Any:
        """The outputs, as gradcheck wants them: the tensors it moves are the module's own."""
        out = self.module(self.x)
        return out[0] if isinstance(out, tuple) else out

    def forward_and_backward(self) -> None:
        """The unit in which costs are said."""
        out = self.call()
        torch.autograd.grad(out, self.tensors, torch.ones_like(out), allow_unused=True)

    def check(self, *, fast: bool = True) -> bool:
        """torch.autograd.gradcheck."""
        return _quiet(lambda: torch.autograd.gradcheck(self.call, self.tensors, fast_mode=fast))

    def check_second(self) -> bool:
        """torch.autograd.gradgradcheck, fast; with attention's plain formula, for no other has one."""
        from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: PLC0415 - as late as its user

        with sdpa_kernel([SDPBackend.MATH]):
            return _quiet(lambda: torch.autograd.gradgradcheck(self.call, self.tensors, fast_mode=True))


def _quiet(ask: Callable[[], bool]) -> bool:
    try:
        return ask()
    except Exception:  # noqa: BLE001 - whatever it raises, it has noticed something
        return False
